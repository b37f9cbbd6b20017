/** The output of chosen or joined rows of tensor streams: a stream again, or lines of JSON. */
import { UsageError } from '../errors.js';
import { flag } from '../options/option.js';
import { expandVectors } from '../stream/compact.js';
import { toFloats } from '../stream/rows.js';
import { type StreamSchema, scaleColumn, type TensorColumn, type TensorData } from '../stream/schema.js';
import { atomicFileSink, type ByteSink, fdSink } from '../stream/sink.js';
import type { TensorWriter } from '../stream/writer.js';
import { isShardFolder, type OutputOptions, writeStream } from './tensor-output.js';

export const JSON_ROWS = flag('--json', 'a line of JSON a row, with its key, label and tensors, in place of a stream');

/** Takes rows with tensors of the stored types. */
export type RowWriter = Pick<TensorWriter, 'append'>;

/**
 * Writes rows through `produce`: as `writeStream` does, or with `json` as lines.
 * @throws UsageError where lines would go into a folder of stream parts
 */
export async function writeRows(
  { json, ...options }: Omit<OutputOptions, 'shard'> & { json?: true },
  schema: StreamSchema,
  produce: (writer: RowWriter) => Promise<void>,
): Promise<void> {
  if (!json) return writeStream(options, schema, produce);
  const { out = '-' } = options;
  if (out !== '-' && isShardFolder(out)) {
    throw new UsageError(`--out ${out}: is a folder, for parts of a stream`, 'Name a file for lines of JSON.');
  }
  const sink = out === '-' ? fdSink(process.stdout.fd) : atomicFileSink(out);
  try {
    const lines = new JsonLines(sink, schema.columns);
    await produce(lines);
    await lines.flush();
    await sink.close();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

/** Bytes of lines that are held before they are written. */
const HELD = 65_536;
/** Digits to try: 6 tell most f32 values from their neighbours, 9 tell all. */
const DIGITS = [6, 7, 8, 9] as const;

class JsonLines implements RowWriter {
  readonly #sink: ByteSink;
  readonly #columns: readonly TensorColumn[];
  #held = '';

  constructor(sink: ByteSink, columns: readonly TensorColumn[]) {
    this.#sink = sink;
    const scales = new Set(columns.filter(({ dtype }) => dtype === 'i8').map((column) => scaleColumn(column).name));
    this.#columns = columns.filter(({ name }) => !scales.has(name));
  }

  async append(
    key: string,
    label: number,
    tensors: Readonly<Record<string, TensorData | Float32Array>>,
  ): Promise<void> {
    const values = this.#columns.map((column) => [column.name, nested(numbersOf(column, tensors), column.shape)]);
    this.#held += `${JSON.stringify({ key, label: label < 0 ? null : label, ...Object.fromEntries(values) })}\n`;
    if (this.#held.length >= HELD) await this.flush();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.from(this.#held);
    this.#held = '';
    await this.#sink.write([bytes]);
  }
}

/** The values of a tensor; those that are not finite become null in JSON. */
function numbersOf({ name, dtype }: TensorColumn, tensors: Readonly<Record<string, TensorData>>): number[] {
  const stored = tensors[name];
  if (stored instanceof Int8Array) {
    return shortest(expandVectors({ values: stored, scales: tensors[`${name}.scale`] as Uint16Array }));
  }
  return dtype === 'u8' ? Array.from(stored) : shortest(toFloats(stored));
}

/** Values with as few digits as tell them from their neighbours: 0.1, not 0.10000000149011612. */
const shortest = (values: Float32Array): number[] =>
  Array.from(values, (value) => {
    const texts = DIGITS.map((digits) => Number(value.toPrecision(digits)));
    return texts.find((number) => Math.fround(number) === value) ?? value;
  });

/** Values in row-major order as lists of lists; a tensor without dimensions is a number. */
function nested(values: readonly number[], [length, ...rest]: readonly number[]): unknown {
  if (length === undefined) return values[0];
  if (rest.length === 0) return values;
  const size = values.length / length;
  return Array.from({ length }, (_, i) => nested(values.slice(i * size, (i + 1) * size), rest));
}
