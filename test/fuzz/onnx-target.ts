/** ONNX models, computed by ONNX Runtime in another process. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { encodeModel, type OnnxGraph, type OnnxNode } from '../../src/lib/engine/onnx/model.js';
import { DataError } from '../../src/lib/errors.js';
import { mutant, pick, type Random } from './mutate.js';
import type { Answer } from './onnx-reader.js';
import { protobufMutant } from './protobuf-mutant.js';
import { type Store, type Target, target } from './target.js';

const READER = fileURLToPath(new URL('./onnx-reader.js', import.meta.url));
/** Kilobytes of addresses that the reader may use: a model may ask for any memory. */
const ADDRESSES = 6 * 2 ** 20;
/** Of a processor, and by the clock, which other programs may have. */
const PATIENCE_MS = 20_000;
const CLOCK_MS = 120_000;
const LOOK_MS = 500;
/** Of Linux, in which /proc counts. */
const TICK_MS = 10;

/** One process, until it ends; then another. */
class Reader {
  #child: ChildProcess | undefined;
  #used = 0;

  /** Milliseconds of a processor that the last answer took; what had none is a fault without it. */
  get used(): number {
    return this.#used;
  }

  async read(file: string): Promise<string> {
    this.#child ??= await started();
    const child = this.#child;
    const answer = answerOf(child);
    child.send(file);
    this.#used = 0;
    try {
      const { value, refused, failed, milliseconds } = await answer;
      this.#used = milliseconds ?? 0;
      if (value !== undefined) return value;
      if (refused !== undefined) throw new DataError(refused);
      throw new Error(failed);
    } catch (error) {
      if (child.exitCode !== null || child.signalCode !== null) this.#child = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  }
}

async function started(): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', `ulimit -v ${ADDRESSES}; exec "$0" "$1"`, process.execPath, READER], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  await answerOf(child);
  return child;
}

/** @throws Error when the process ends, or takes too long and is ended */
function answerOf(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const usedBefore = usedBy(child);
    const patience = setInterval(() => {
      const late = performance.now() - start > CLOCK_MS;
      if (late || usedBy(child) - usedBefore > PATIENCE_MS) child.kill('SIGKILL');
    }, LOOK_MS);
    const settle = (settled: () => void): void => {
      clearInterval(patience);
      child.off('message', onMessage);
      child.off('exit', onExit);
      settled();
    };
    const onMessage = (answer: unknown): void => settle(() => resolve(answer as Answer));
    const onExit = (code: number | null, signal: string | null): void =>
      settle(() => reject(new Error(`the process ended with ${code ?? signal}`)));
    child.on('message', onMessage);
    child.on('exit', onExit);
  });
}

/** Milliseconds of a processor; 0 where that is not told, or it has ended. */
function usedBy({ pid }: ChildProcess): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return 0;
  }
}

const node = (
  type: string,
  inputs: string[],
  outputs: string[],
  attributes: OnnxNode['attributes'] = {},
): OnnxNode => ({
  type,
  domain: '',
  attributes,
  inputs,
  outputs,
});

const integers = (name: string, values: number[]) => ({
  name,
  dtype: 'int64' as const,
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** Means of patches as a map, and as a sequence behind a class token; a convolution of weights. */
function models(): Buffer[] {
  const pool = node('AveragePool', ['x'], ['map'], { kernel_shape: [4, 4], strides: [4, 4] });
  const weights = { name: 'w', dtype: 'float32' as const, shape: [2, 3, 4, 4], data: new Float32Array(96).fill(0.1) };
  const graphs: (Pick<OnnxGraph, 'nodes' | 'initializers'> & { outputs: Record<string, number[]> })[] = [
    { nodes: [pool], initializers: [], outputs: { map: [-1, 3, -1, -1] } },
    {
      nodes: [
        pool,
        node('Reshape', ['map', 'flat'], ['planes']),
        node('Transpose', ['planes'], ['patches'], { perm: [0, 2, 1] }),
        node('ReduceMean', ['patches', 'axis'], ['mean'], { keepdims: 1 }),
        node('Concat', ['mean', 'patches'], ['tokens'], { axis: 1 }),
      ],
      initializers: [integers('flat', [0, 3, -1]), integers('axis', [1])],
      outputs: { tokens: [-1, -1, 3] },
    },
    {
      nodes: [node('Conv', ['x', 'w'], ['map'], { kernel_shape: [4, 4], strides: [4, 4] })],
      initializers: [weights],
      outputs: { map: [-1, 2, -1, -1] },
    },
  ];
  return graphs.map(({ outputs, ...graph }) =>
    Buffer.from(
      encodeModel({
        inputs: [{ name: 'x', dtype: 'float32', shape: [-1, 3, -1, -1] }],
        outputs: Object.entries(outputs).map(([name, shape]) => ({ name, dtype: 'float32', shape })),
        ...graph,
      }),
    ),
  );
}

export async function onnxTarget(store: Store): Promise<Target> {
  const good = models();
  const reader = new Reader();
  const make = (random: Random): Buffer => {
    const model = pick(random, good);
    return random() < 0.7 ? protobufMutant(model, random) : mutant(model, random);
  };
  const made = await target('onnx', false, good, (file) => reader.read(file), store, make);
  return { ...made, used: () => reader.used, close: () => reader.close() };
}
