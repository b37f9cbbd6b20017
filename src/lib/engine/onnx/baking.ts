import { sortOperations } from '../graph/order.js';
import type { Value } from '../graph/value.js';

/**
 * The weights of convolutions: ONNX Runtime lays these out anew for the processor if it knows them ahead (a tenth
 * faster). Those of matrix products gain nothing, and would be in memory three times.
 */
export function convolutionWeights(outputs: readonly Value[]): Set<Value> {
  const baked = new Set<Value>();
  for (const { name, inputs } of sortOperations(outputs).operations) {
    if (name !== 'convolution') continue;
    for (const value of inputs.slice(1)) if (value.kind === 'data') baked.add(value);
  }
  return baked;
}
