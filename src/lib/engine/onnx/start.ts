/** Starts the engine that computes recorded graphs by ONNX Runtime on the processor. */
import type { Engine } from '../engine.js';
import { useTarget } from '../graph/backend.js';
import '../graph/kernels/index.js';
import { compile } from '../graph/trace.js';
import { runtimeVersion } from './runtime.js';
import { OnnxTarget } from './target.js';

export async function startOnnx(threads: number): Promise<Engine> {
  await useTarget(new OnnxTarget(threads));
  return { backend: 'onnx', version: runtimeVersion, threads, readsInPlace: true, compile };
}
