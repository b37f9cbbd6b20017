/** Turns the part of a recorded graph that some values need into one StableHLO program. */
import type { OperationName } from '../../graph/operations.js';
import { sortOperations } from '../../graph/order.js';
import type { Value } from '../../graph/value.js';
import { ELEMENTWISE } from './elementwise.js';
import { IMAGE } from './image.js';
import { NORMALISE } from './normalise.js';
import { PRODUCT } from './product.js';
import { REDUCE } from './reduce.js';
import type { Rule, Rules } from './rule.js';
import { SHAPE } from './shape.js';
import { type Products, type Tensor, typeOf, Writer } from './writer.js';

/** How each operation is written. */
export const RULES: Rules<OperationName> = {
  ...ELEMENTWISE,
  ...SHAPE,
  ...REDUCE,
  ...PRODUCT,
  ...NORMALISE,
  ...IMAGE,
};

export interface LoweringOptions {
  readonly products: Products;
  /** For feeds whose memory an output takes over: the output's number. */
  readonly donated?: ReadonlyMap<Value, number>;
}

export interface LoweredProgram {
  readonly text: string;
  /** The values that have to be fed, in order: all leaves but constants, and those that the caller named. */
  readonly feeds: readonly Value[];
}

/** @param inputs values that are fed in this order, whether they are needed or not */
export function lower(wanted: readonly Value[], inputs: readonly Value[], options: LoweringOptions): LoweredProgram {
  const { operations, leaves } = sortOperations(wanted);
  const writer = new Writer(options.products);
  const known = new Map<Value, Tensor>();
  const feeds = [...new Set([...inputs, ...leaves.filter(({ kind }) => kind !== 'constant')])];
  feeds.forEach(({ dtype, shape }, i) => {
    known.set(feeds[i], { name: `%arg${i}`, dtype, shape });
  });
  for (const leaf of leaves) {
    if (!known.has(leaf)) known.set(leaf, writer.constant(leaf.data!, leaf.dtype, leaf.shape));
  }
  for (const operation of operations) {
    const rule = RULES[operation.name] as Rule<OperationName>;
    const outputs = [
      rule(
        writer,
        operation.inputs.map((input) => known.get(input)!),
        operation,
      ),
    ].flat();
    operation.outputs.forEach((output, i) => {
      known.set(output, outputs[i]);
    });
  }
  const results = wanted.map((value) => known.get(value)!);
  const parameters = feeds.map((feed) => {
    const output = options.donated?.get(feed);
    const attributes = output === undefined ? '' : ` {tf.aliasing_output = ${output} : i32}`;
    return `${known.get(feed)!.name}: ${typeOf(feed)}${attributes}`;
  });
  return { text: program(parameters, writer.lines, results), feeds };
}

function program(parameters: readonly string[], lines: readonly string[], results: readonly Tensor[]): string {
  const types = results.map(typeOf).join(', ');
  return [
    'module @repa {',
    `func.func public @main(${parameters.join(', ')}) -> (${types}) {`,
    ...lines,
    `return ${results.map(({ name }) => name).join(', ')} : ${types}`,
    '}',
    '}',
    '',
  ].join('\n');
}
