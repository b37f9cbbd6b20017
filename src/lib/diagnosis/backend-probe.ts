/**
 * A program: starts the backend that its arguments name, times matrix products on it, and prints the outcome as JSON.
 * It is one of its own because a process starts one backend, and because a broken native library may end it.
 */
import { type BackendName, capture, engineInfo, selectBackend, tf } from '../engine/index.js';
import { productUnits } from '../engine/onnx/native.js';
import type { RepaError } from '../errors.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';
import type { BackendFacts } from './diagnose.js';

const SIDE = 1024;
/** Products of one run, so that copies to a device count for little. */
const CHAIN = 4;
const SECONDS = 0.5;

/** The best rate seen, in 10^9 floating point operations a second, in f32. */
function measureProducts(): number {
  const matrix = new Float32Array(SIDE * SIDE); // [SIDE, SIDE]
  fillNormal(matrix, 0, PURPOSE.noise, 0);
  for (let i = 0; i < matrix.length; i++) matrix[i] /= Math.sqrt(SIDE); // products keep their size
  const shape = [SIDE, SIDE];
  const program = capture(
    (a) => [Array.from({ length: CHAIN }).reduce<tf.Tensor>((product) => tf.matMul(product, a), a)],
    [{ shape, dtype: 'float32' }],
  );
  program.run(matrix); // the first run warms up
  let best = Number.POSITIVE_INFINITY;
  for (const end = performance.now() + SECONDS * 1000; performance.now() < end; ) {
    const started = performance.now();
    program.run(matrix);
    best = Math.min(best, performance.now() - started);
  }
  program.dispose();
  return (CHAIN * 2 * SIDE ** 3) / best / 1e6;
}

/** What the devices of the plugin are, and how fast in bf16. */
async function xlaFacts(threads: number) {
  const { devicesOf } = await import('../engine/xla/start.js');
  const devices = devicesOf();
  await selectBackend({ backend: 'xla', threads, precision: 'bf16' });
  return { ...devices, gflops_bf16: Math.round(measureProducts()) };
}

/** How fast in bf16, by which units of the processor; nothing where it has none. */
async function processorFacts(threads: number) {
  const units = productUnits();
  if (!units) return {};
  await selectBackend({ backend: 'onnx', threads, precision: 'bf16' });
  return { units, gflops_bf16: Math.round(measureProducts()) };
}

async function probe(name: BackendName, threads: number): Promise<BackendFacts> {
  try {
    await selectBackend({ backend: name, threads, ...(name === 'xla' && { precision: 'f32' }) });
    const gflops = Math.round(measureProducts());
    const facts = { name, works: true, version: engineInfo().version, gflops } as const;
    if (name === 'xla') return { ...facts, ...(await xlaFacts(threads)) };
    return name === 'onnx' ? { ...facts, ...(await processorFacts(threads)) } : facts;
  } catch (error) {
    const { message, hint } = error as RepaError;
    return { name, works: false, problem: message, hint };
  }
}

const [name, threads] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await probe(name as BackendName, Number(threads))));
