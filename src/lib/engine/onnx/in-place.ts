/**
 * Runs that write their outputs where we say, and nowhere else.
 *
 * ONNX Runtime writes into the arrays it is given, but its binding for Node then copies every output into a new array
 * as well: for a training step that is one more set of gradients, written and thrown away. The binding converts outputs
 * in their order, and it throws at an element type that JavaScript has no array for. So the first output of our models
 * is a constant of bfloat16: the run is over by then, and no output is copied.
 */
import type { Tensor } from 'onnxruntime-node';
import { type ExternalData, encodeModel, type OnnxGraph } from './model.js';
import type { RawSession } from './runtime.js';

const UNREADABLE = 'unreadable';
/** What the binding says of it. */
const REFUSAL = /^Tensor type \(16\) is not supported/;

/** A model for `runInPlace`; `external` as of `encodeModel`. */
export function encodeInPlace(graph: OnnxGraph, external?: ExternalData[]): Uint8Array<ArrayBuffer> {
  const first = { name: UNREADABLE, dtype: 'bfloat16', shape: [1] } as const;
  const initializers = [...graph.initializers, { ...first, data: Uint16Array.of(0) }];
  return encodeModel({ ...graph, outputs: [first, ...graph.outputs], initializers }, external);
}

/** Computes `outputs`, whose arrays are written. */
export function runInPlace(
  session: RawSession,
  inputs: Readonly<Record<string, Tensor>>,
  outputs: Readonly<Record<string, Tensor>>,
): void {
  try {
    session.run(inputs, { ...outputs, [UNREADABLE]: null }, {});
  } catch (error) {
    if (!REFUSAL.test((error as Error).message)) throw error;
  }
}
