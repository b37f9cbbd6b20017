/**
 * A program: starts the backend that its arguments name, times matrix products on it, and prints the outcome as JSON.
 * It is separate because a process starts one backend only, and a broken native library may crash it.
 */
import { type BackendName, engineInfo, selectBackend } from '../engine/index.js';
import { productUnits } from '../engine/onnx/native.js';
import type { RepaError } from '../errors.js';
import type { BackendFacts } from './diagnose.js';
import { measureProducts } from './product-speed.js';

/** The speed of products in GFLOP/s, measured for half a second. */
function gflops(): number {
  const speed = measureProducts(0.5) / 1e9;
  return speed < 10 ? Number(speed.toPrecision(2)) : Math.round(speed); // of a software driver 0.3, say
}

/** What the devices of the plugin are, and how fast in bf16. */
async function xlaFacts(threads: number) {
  const { devicesOf } = await import('../engine/xla/start.js');
  const devices = devicesOf();
  await selectBackend({ backend: 'xla', threads, precision: 'bf16' });
  return { ...devices, gflops_bf16: gflops() };
}

/** How fast in bf16, by which units of the processor; nothing where it has none. */
async function processorFacts(threads: number) {
  const units = productUnits();
  if (!units) return {};
  await selectBackend({ backend: 'onnx', threads, precision: 'bf16' });
  return { units, gflops_bf16: gflops() };
}

async function probe(name: BackendName, threads: number): Promise<BackendFacts> {
  try {
    await selectBackend({ backend: name, threads, ...(name === 'xla' && { precision: 'f32' }) });
    const facts = { name, works: true, version: engineInfo().version, gflops: gflops() } as const;
    if (name === 'xla') return { ...facts, ...(await xlaFacts(threads)) };
    return name === 'onnx' ? { ...facts, ...(await processorFacts(threads)) } : facts;
  } catch (error) {
    const { message, hint } = error as RepaError;
    return { name, works: false, problem: message, hint };
  }
}

const [name, threads] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await probe(name as BackendName, Number(threads))));
