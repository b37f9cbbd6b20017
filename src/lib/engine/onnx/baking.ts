import type { Constants } from '../engine.js';
import { sortOperations } from '../graph/order.js';
import type { Operation, Value } from '../graph/value.js';
import type { Lowering } from './lower/lowering.js';
import { isPackable } from './lower/product.js';

/**
 * The operands that become part of a graph. ONNX Runtime lays the weights of convolutions out anew for the processor if
 * it knows them ahead (a tenth faster); those of its matrix products gain nothing, and would be in memory three times.
 * Products by units for bf16 take theirs rounded and packed: half the memory where nobody keeps what they are made of,
 * and half as much again where somebody does.
 */
export function constantOperands(
  outputs: readonly Value[],
  constants: Constants,
  { bf16Parts: parts }: Lowering,
): Set<Value> {
  const baked = new Set<Value>();
  if (constants === 'feed') return baked;
  for (const operation of sortOperations(outputs).operations) {
    const { name, inputs } = operation;
    const operands = name === 'convolution' ? inputs.slice(1) : [];
    const isPacked = parts > 0 && name === 'product' && isPackable(operation as Operation<'product'>, parts);
    if (isPacked) operands.push(inputs[1]);
    for (const value of operands) if (value.kind === 'data') baked.add(value);
  }
  return baked;
}
