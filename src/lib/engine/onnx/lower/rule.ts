import type { OperationName } from '../../graph/operations.js';
import type { Operation } from '../../graph/value.js';
import type { NodeWriter } from './writer.js';

/** Writes an operation, whose inputs have these names; the names of its outputs. */
export type Rule<N extends OperationName> = (
  writer: NodeWriter,
  inputs: readonly string[],
  operation: Operation<N>,
) => string | readonly string[];

export type Rules<Names extends OperationName> = { readonly [N in Names]: Rule<N> };
