/** Starts the engine that computes recorded graphs by ONNX Runtime on the processor. */
import type { Engine } from '../engine.js';
import { useTarget } from '../graph/backend.js';
import '../graph/kernels/index.js';
import { compile } from '../graph/trace.js';
import { ort } from './runtime/library.js';
import { OnnxTarget } from './target.js';

export async function startOnnx(threads: number): Promise<Engine> {
  const { version } = ort();
  await useTarget(new OnnxTarget(threads));
  return { backend: 'onnx', version, threads, device: null, readsInPlace: true, compile };
}
