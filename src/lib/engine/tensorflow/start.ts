/** TensorFlow by way of tfjs-node, an optional package that brings libtensorflow along. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import util from 'node:util';
import { UnavailableError } from '../../errors.js';
import type { Engine } from '../engine.js';
import * as tf from '../tfjs.js';
import { defineKernels } from './kernels.js';
import { eagerProgram } from './program.js';

const PACKAGES = { tensorflow: '@tensorflow/tfjs-node', 'tensorflow-gpu': '@tensorflow/tfjs-node-gpu' } as const;
export type TensorflowName = keyof typeof PACKAGES;

const require = createRequire(import.meta.url);

export function isInstalled(name: TensorflowName): boolean {
  try {
    require.resolve(PACKAGES[name]);
    return true;
  } catch {
    return false;
  }
}

/** Whether the driver of an NVIDIA card is there (on Windows' Linux: its stand-in). */
export const isGpuVisible = (): boolean => existsSync('/dev/nvidiactl') || existsSync('/dev/dxg');

/** What tfjs-node adds to a backend. */
interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
}

/** What tfjs-node exports besides tfjs. */
interface NodePackage {
  readonly version?: Readonly<Record<string, string>>;
}

/** @throws UnavailableError when the package is missing, does not load, is of another version, or finds no GPU */
export async function startTensorflow(name: TensorflowName, threads: number): Promise<Engine> {
  await load(name, threads);
  await tf.setBackend('tensorflow');
  const { isUsingGpuDevice, binding } = tf.backend() as unknown as NodeBackend;
  if (name === 'tensorflow-gpu' && !isUsingGpuDevice) throw noGpu(binding.TF_Version);
  return {
    backend: name,
    version: binding.TF_Version,
    threads,
    device: null,
    readsInPlace: false,
    compile: eagerProgram,
  };
}

function noGpu(version: string): UnavailableError {
  const driver = isGpuVisible()
    ? `check that the CUDA and cuDNN libraries that TensorFlow ${version} was built for are on LD_LIBRARY_PATH`
    : 'install the NVIDIA driver';
  return new UnavailableError(`TensorFlow ${version} finds no GPU`, `${driver}; or use --backend onnx`);
}

async function load(name: TensorflowName, threads: number): Promise<void> {
  const packageName = PACKAGES[name];
  const wanted = `${packageName}@${tf.version_core}`;
  const install = `npm install ${wanted}; or use --backend onnx`;
  if (!isInstalled(name)) {
    throw new UnavailableError(`the ${name} backend needs ${packageName}`, `install it with: ${install}`);
  }
  if (tf.findBackend('tensorflow')) return;
  process.env.TF_NUM_INTRAOP_THREADS = String(threads);
  process.env.TF_CPP_MIN_LOG_LEVEL ??= '2'; // errors only
  // tfjs-node 4.22 calls this function, which Node 23 removed.
  Object.assign(util, { isNullOrUndefined: (value: unknown) => value === null || value === undefined });
  tf.enableProdMode(); // else the second copy of tfjs warns of all that it finds registered already
  const { version = {} } = await importPackage(packageName);
  // The two copies share one registry: kernels have to mean the same in both.
  const core = version['tfjs-core'];
  if (core !== tf.version_core) {
    throw new UnavailableError(
      `${packageName} is of tfjs-core ${core ?? 'of an unknown version'}, and repa of ${tf.version_core}`,
      `install the one that fits with: ${install}`,
    );
  }
  defineKernels();
}

async function importPackage(packageName: string): Promise<NodePackage> {
  try {
    return await import(packageName);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n'); // more lines are advice for another install
    throw new UnavailableError(
      `${packageName} does not load: ${reason.trim()}`,
      `install it again, with its native library, with: npm rebuild ${packageName}; or use --backend onnx`,
    );
  }
}
