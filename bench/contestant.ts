/** What the contestants of contest.ts have in common. */
import { createInterface } from 'node:readline';
import { capture, type TensorSpec, tf } from '../src/lib/engine/index.js';
import { peakDeviceBytes } from '../src/lib/engine/xla/start.js';
import { fillNormal, PURPOSE } from '../src/lib/numbers/random.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';

const GEMM_SIDE = 1024;

let row = 0;

/** Other numbers at each call. */
export function normals(shape: readonly number[], scale = 1): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(shape));
  fillNormal(values, 0, PURPOSE.noise, row++);
  // In place: what a network's weights leave behind would count as its memory.
  for (let i = 0; i < values.length; i++) values[i] *= scale;
  return values;
}

/** Answers each line of stdin, `step` or `gemm`, with the time that it took. Needs a selected backend. */
export async function answer(step: () => unknown): Promise<void> {
  const square: TensorSpec = { shape: [GEMM_SIDE, GEMM_SIDE], dtype: 'float32' };
  const product = capture((a, b) => [tf.sum(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D))], [square, square]);
  const [a, b] = [normals(square.shape), normals(square.shape)];
  const work: Record<string, () => unknown> = { step, gemm: () => product.run(a, b) };
  for await (const line of createInterface({ input: process.stdin })) {
    const start = performance.now();
    const before = process.cpuUsage();
    const facts = await work[line]();
    const { user, system } = process.cpuUsage(before);
    const deviceBytes = peakDeviceBytes();
    const report = {
      milliseconds: performance.now() - start,
      cpuMilliseconds: (user + system) / 1000,
      peakMiB: process.resourceUsage().maxRSS / 1024,
      ...(deviceBytes !== undefined && { deviceMiB: deviceBytes / 2 ** 20 }),
      ...(facts instanceof Object && !Array.isArray(facts) && facts),
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  }
}
