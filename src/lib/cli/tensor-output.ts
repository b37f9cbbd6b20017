/** The output of a verb's tensor stream: stdout, a file that appears when complete, or a part of a shard folder. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError, UsageError } from '../errors.js';
import { shardFromEnvironment } from '../parallel/environment.js';
import { FORMAT_KEY, type StreamSchema, sameColumns, showColumn } from '../stream/schema.js';
import { firstFinishedPart, isFinished, partSink, type Shard } from '../stream/shards.js';
import { atomicFileSink, type ByteSink, fdSink } from '../stream/sink.js';
import type { TensorWriter } from '../stream/writer.js';

export interface OutputOptions {
  /** Undefined and '-' mean stdout; a path that ends in / is a shard folder. */
  out?: string;
  shard?: Shard;
}

const STDOUT = 1;

/**
 * Refuses to write binary data to a terminal. Called before the work begins.
 * @throws UsageError
 */
export function checkBinaryOutput({ out }: OutputOptions): void {
  if ((out ?? '-') !== '-' || !process.stdout.isTTY) return;
  throw new UsageError(
    'the output is binary and stdout is a terminal',
    'Redirect it (> file), pipe it, or give -o FILE.',
  );
}

/**
 * @throws UsageError when parts would be written into the folder of the images, which would then count as a shard
 *   folder
 */
export function checkBesideInput({ out = '-' }: OutputOptions, input: string): void {
  if (input === '-' || out === '-' || path.resolve(out) !== path.resolve(input) || !isShardFolder(out)) return;
  if (firstFinishedPart(out) === undefined)
    throw new UsageError(`--out ${out}: holds the input`, 'Name another folder.');
}

/** Whether an output is a folder of parts. */
export const isShardFolder = (out: string): boolean =>
  out.endsWith('/') || (existsSync(out) && statSync(out).isDirectory());

/**
 * The shard that was asked for, else the one that the cluster's environment gives.
 * @throws UsageError when the latter would have several processes write to one place
 */
export function shardOf({ out = '-', shard }: OutputOptions): Shard | undefined {
  const found = shard ?? shardFromEnvironment();
  if (shard || !found || found.count === 1 || isShardFolder(out)) return found;
  throw new UsageError(
    `this is process ${found.index} of ${found.count}, and all would write to ${out === '-' ? 'stdout' : out}`,
    'Write to a shard folder (-o latents/), or give --shard and an output of its own to each.',
  );
}

const WHOLE: Shard = { index: 0, count: 1 };

function openSink({ out = '-' }: OutputOptions): ByteSink {
  if (out === '-') return fdSink(STDOUT);
  return isShardFolder(out) ? partSink(out, WHOLE) : atomicFileSink(out);
}

/** Header entries that may differ between parts of one job. */
const OF_ONE_RUN = new Set(['repa.command']);

/**
 * A folder that was begun is continued only as it was begun: parts of two models or seeds would pass for one set.
 * @throws DataError naming what differs
 */
async function checkSameJob(folder: string, { metadata, columns }: StreamSchema): Promise<void> {
  const part = firstFinishedPart(folder);
  if (part === undefined) return;
  const { openTensorStream } = await import('../stream/reader.js');
  const reader = await openTensorStream(path.join(folder, part));
  const before = reader.schema.metadata;
  const hadColumns = reader.schema.columns;
  await reader.close();
  if (!sameColumns(hadColumns, columns)) {
    const shown = (all: StreamSchema['columns']): string => all.map(showColumn).join(', ');
    throw new DataError(
      `${folder}: ${part} was made with other settings: it holds ${shown(hadColumns)}, now ${shown(columns)}`,
      'Choose an empty folder, or run the job as it was begun.',
    );
  }
  for (const name of new Set([...Object.keys(before), ...Object.keys(metadata)])) {
    if (OF_ONE_RUN.has(name) || name === FORMAT_KEY || before[name] === metadata[name]) continue;
    throw new DataError(
      `${folder}: ${part} was made with other settings: ${name} is ${before[name] ?? 'absent'}, now ${metadata[name] ?? 'absent'}`,
      'Choose an empty folder, or run the job as it was begun.',
    );
  }
}

/**
 * Writes one stream through `produce`, in place of one that is there: of a shard folder, the only part. An error leaves
 * no end-of-stream marker and no file.
 * @throws DataError when the folder holds several parts
 */
export async function writeStream(
  options: Omit<OutputOptions, 'shard'>,
  schema: StreamSchema,
  produce: (writer: TensorWriter) => Promise<void>,
): Promise<void> {
  checkBinaryOutput(options);
  await writeTo(openSink(options), schema, produce);
}

/**
 * As {@link writeStream}, but goes on with a shard folder: its header has to tell everything that values depend on.
 * @returns false when this part of the folder was finished by an earlier run, and nothing was done
 * @throws DataError when the folder was begun by another job
 */
export async function continueStream(
  options: OutputOptions,
  schema: StreamSchema,
  produce: (writer: TensorWriter) => Promise<void>,
): Promise<boolean> {
  const { out = '-', shard = WHOLE } = options;
  if (out === '-' || !isShardFolder(out)) {
    await writeStream(options, schema, produce);
    return true;
  }
  await checkSameJob(out, schema);
  if (isFinished(out, shard)) return false;
  await writeTo(partSink(out, shard), schema, produce);
  return true;
}

async function writeTo(
  sink: ByteSink,
  schema: StreamSchema,
  produce: (writer: TensorWriter) => Promise<void>,
): Promise<void> {
  try {
    const { TensorWriter } = await import('../stream/writer.js'); // Arrow takes 30 ms that --help need not wait for
    const writer = new TensorWriter(sink, schema);
    await produce(writer);
    await writer.end();
  } catch (error) {
    await sink.abort();
    throw error;
  }
}
