/** The choice of what executes tensors, made before the first of them. */
import os from 'node:os';
import { UsageError } from '../errors.js';
import type { BackendName, DeviceSpace, Engine, EngineInfo, Precision, Residency } from './engine.js';

const NAMES = ['auto', 'onnx', 'webgpu', 'xla', 'tensorflow', 'tensorflow-gpu'] as const;
type Name = (typeof NAMES)[number];

const isName = (name: string): name is Name => NAMES.includes(name as Name);

export interface BackendOptions {
  /**
   * `auto`: XLA if a plugin is named, or one is installed and an accelerator is there; else TensorFlow on a GPU if both
   * are there; else ONNX Runtime, which is faster than TensorFlow on the CPU and takes a third of the memory. A GPU
   * that cannot be used is an error, not a reason to compute for weeks on the CPU. The default is what the
   * environment's REPA_BACKEND says, or `auto`.
   */
  backend?: Name;
  /** Threads of one operation; one per core by default. */
  threads?: number;
  /** Of xla: the file of a PJRT plugin. */
  plugin?: string;
  /** Of xla: how many devices share the work. */
  devices?: number;
  /**
   * Element type of the operands of products: of onnx f32, f32x2 or bf16, of xla f32 or bf16, of webgpu f32 or f16. The
   * default is what the environment's REPA_PRECISION says, or the backend's own.
   */
  precision?: Precision;
}

let active: Engine | null = null;

/**
 * Must be called once before any tensor is made.
 * @returns the name of the backend that runs
 * @throws UsageError for an unknown name, UnavailableError for a backend that is not installed
 */
export async function selectBackend(options: BackendOptions = {}): Promise<BackendName> {
  const { backend = process.env.REPA_BACKEND || 'auto', threads = os.availableParallelism() } = options;
  if (!isName(backend)) {
    throw new UsageError(`there is no backend called ${backend}`, `choose one of ${NAMES.join(', ')}`);
  }
  const precision = options.precision ?? ((process.env.REPA_PRECISION || undefined) as Precision | undefined);
  const name = backend === 'auto' ? await bestBackend(options.plugin) : backend;
  active = await start(name, threads, { ...options, precision });
  return active.backend;
}

/** What `auto` means on this machine. */
export async function bestBackend(plugin?: string): Promise<BackendName> {
  const { installedPlugins, isAcceleratorVisible, namedPlugin } = await import('./xla/plugin.js');
  if (plugin ?? namedPlugin()) return 'xla';
  if (isAcceleratorVisible() && installedPlugins().length > 0) return 'xla';
  const { isGpuVisible, isInstalled } = await import('./tensorflow/start.js');
  return isInstalled('tensorflow-gpu') && isGpuVisible() ? 'tensorflow-gpu' : 'onnx';
}

/** What the operands of products may be; the others compute in f32 alone. */
const PRECISIONS = { onnx: ['f32', 'f32x2', 'bf16'], xla: ['f32', 'bf16'], webgpu: ['f32', 'f16'] } as const;
const WHOLE = ['f32'] as const;

/** @throws UsageError when the backend has no products of this type */
function precisionFor<P extends string>(
  backend: BackendName,
  known: readonly P[],
  precision: BackendOptions['precision'],
): P | undefined {
  const chosen = known.find((name) => name === precision);
  if (precision === undefined || chosen) return chosen;
  throw new UsageError(
    `the ${backend} backend has no products in ${precision}`,
    `choose --precision ${known.join(' or ')}, or another --backend`,
  );
}

// Imported when chosen: each backend loads a library of its own.
async function start(backend: BackendName, threads: number, options: BackendOptions): Promise<Engine> {
  const { precision } = options;
  if (backend === 'xla') {
    const products = precisionFor(backend, PRECISIONS.xla, precision);
    return (await import('./xla/start.js')).startXla({ ...options, precision: products }, threads);
  }
  if (backend === 'webgpu') {
    const products = precisionFor(backend, PRECISIONS.webgpu, precision);
    return (await import('./onnx/start.js')).startWebgpu(products ?? 'f32', threads);
  }
  if (backend === 'onnx') {
    const products = precisionFor(backend, PRECISIONS.onnx, precision);
    return (await import('./onnx/start.js')).startOnnx(products ?? 'f32', threads);
  }
  precisionFor(backend, WHOLE, precision);
  return (await import('./tensorflow/start.js')).startTensorflow(backend, threads);
}

export function activeEngine(): Engine {
  if (!active) throw new Error('selectBackend() has to be called before tensors are used');
  return active;
}

/** Where tensors are computed on a device: what keeps copies of arrays there. */
export const activeDevice = (): Residency | null => active?.device ?? null;

/** Where rows can stay on a device: a new place for them. */
export const deviceSpace = (): DeviceSpace | null => active?.space?.() ?? null;

/** Name, version and threads of the backend that was selected. */
export function engineInfo(): EngineInfo {
  const { backend, version, threads, devices, precision } = activeEngine();
  return { backend, version, threads, ...(devices && { devices }), ...(precision && { precision }) };
}

/** What computed a stream: values of other backends, versions and precisions differ in their last digits. */
export function engineEntry(): string {
  const { backend, version: library, precision = 'f32' } = engineInfo();
  return `${backend} ${library}${precision === 'f32' ? '' : ` ${precision}`}`;
}
