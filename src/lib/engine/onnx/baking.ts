import type { Constants } from '../engine.js';
import { sortOperations } from '../graph/order.js';
import type { Value } from '../graph/value.js';
import type { Lowering } from './lower/lowering.js';

/**
 * The operands that become part of a graph. ONNX Runtime lays the weights of convolutions out anew for the processor if
 * it knows them ahead (a tenth faster); those of its matrix products gain nothing, and would be in memory three times.
 * Products by units for bf16 take theirs rounded and packed: half the memory, if nobody keeps what they are made of.
 */
export function constantOperands(outputs: readonly Value[], constants: Constants, lowering: Lowering): Set<Value> {
  const baked = new Set<Value>();
  if (constants === 'feed') return baked;
  for (const { name, inputs } of sortOperations(outputs).operations) {
    const operands = name === 'convolution' ? inputs.slice(1) : [];
    const isPacked =
      constants === 'own' && lowering.bf16Parts > 0 && name === 'product' && inputs[1].shape.length === 2;
    if (isPacked) operands.push(inputs[1]);
    for (const value of operands) if (value.kind === 'data') baked.add(value);
  }
  return baked;
}
