import type { OperationName } from '../../graph/operations.js';
import type { Operation } from '../../graph/value.js';
import type { Tensor, Writer } from './writer.js';

/** Writes an operation of these inputs; its outputs. */
export type Rule<N extends OperationName> = (
  writer: Writer,
  inputs: readonly Tensor[],
  operation: Operation<N>,
) => Tensor | readonly Tensor[];

export type Rules<Names extends OperationName> = { readonly [N in Names]: Rule<N> };
