/** How kernels are declared: a function from values to values, registered under the name tfjs calls. */
import * as tf from '../../tfjs.js';
import { BACKEND_NAME, graphBackend } from '../backend.js';
import type { Value } from '../value.js';

/** `inputs` under the names tfjs gives them; attributes as tfjs passes them. */
type Compute<Attributes> = (inputs: Record<string, Value>, attributes: Attributes) => Value | Value[];

export function defineKernel<Attributes = unknown>(kernelName: string, compute: Compute<Attributes>): void {
  tf.registerKernel({
    kernelName,
    backendName: BACKEND_NAME,
    kernelFunc({ inputs, attrs }) {
      const backend = graphBackend();
      const values: Record<string, Value> = {};
      for (const [name, tensor] of Object.entries(inputs)) if (tensor) values[name] = backend.valueFor(tensor);
      const outputs = compute(values, attrs as Attributes);
      return Array.isArray(outputs) ? outputs.map((value) => backend.tensorFor(value)) : backend.tensorFor(outputs);
    },
  });
}

/** Non-negative axis: tfjs counts negative ones from the end. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
