/** Starts the engines that compute recorded graphs by ONNX Runtime, on the processor or on a GPU. */
import type { Engine } from '../engine.js';
import { useTarget } from '../graph/backend.js';
import '../graph/kernels/index.js';
import { compile } from '../graph/trace.js';
import { processorLowering } from './lower/lowering.js';
import { productLibrary } from './native.js';
import { ort } from './runtime/library.js';
import { OnnxTarget } from './target.js';
import { WebgpuDevice } from './webgpu/device.js';
import { DeviceCopies } from './webgpu/residency.js';
import { WebgpuTarget } from './webgpu/target.js';

/**
 * @param precision of the operands of products; all but f32 are computed by units for bf16
 * @throws UnavailableError where there are no such units
 */
export async function startOnnx(precision: 'f32' | 'f32x2' | 'bf16', threads: number): Promise<Engine> {
  const { version } = ort();
  if (precision !== 'f32') productLibrary();
  await useTarget(new OnnxTarget(threads, processorLowering(precision)));
  return { backend: 'onnx', version, threads, precision, device: null, readsInPlace: true, compile };
}

let gpu: WebgpuDevice | undefined;

/**
 * @param precision of the operands of products; sums of f16 are in the precision that the GPU's units have
 * @throws UnavailableError where no driver gives access to a GPU
 */
export async function startWebgpu(precision: 'f32' | 'f16', threads: number): Promise<Engine> {
  const { version } = ort();
  gpu ??= new WebgpuDevice(); // one for the process: the provider has one device
  const device = new DeviceCopies(gpu);
  await useTarget(new WebgpuTarget(gpu, device, precision, new OnnxTarget(threads)));
  return { backend: 'webgpu', version, threads, precision, device, readsInPlace: true, compile };
}
