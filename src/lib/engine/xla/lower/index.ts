/** Turns the part of a recorded graph that some values need into one StableHLO program. */
import { sizeOf, type TypedArray } from '../../../numbers/typed-array.js';
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
  /** Arrays whose memory an output takes over if the program reads them: the output's number. */
  readonly takers?: ReadonlyMap<TypedArray, number>;
  /** Whether an array lies on the device as a vector, whatever its shape here. */
  isFlat?(array: TypedArray): boolean;
  /** Devices that run the program together. */
  readonly replicas?: number;
  /** Whether outputs are summed over the devices. */
  readonly sum?: boolean;
}

export interface LoweredProgram {
  readonly text: string;
  /** What has to be fed, in order: the inputs, then the data that is read, each array once. */
  readonly feeds: readonly Value[];
}

/** @param inputs values that are fed in this order, whether they are needed or not */
export function lower(wanted: readonly Value[], inputs: readonly Value[], options: LoweringOptions): LoweredProgram {
  const { products, takers, isFlat = () => false, replicas = 1, sum = false } = options;
  const { operations, leaves } = sortOperations(wanted);
  const writer = new Writer(products);
  const known = new Map<Value, Tensor>();
  const feeds: Value[] = [];
  const parameters: string[] = [];
  const byData = new Map<TypedArray, Tensor>();
  const parameter = ({ data, dtype, shape }: Value): Tensor => {
    const flat = data && isFlat(data) ? [data.length] : shape;
    const taker = data ? takers?.get(data) : undefined;
    const made = { name: `%arg${parameters.length}`, dtype, shape: flat };
    parameters.push(
      `${made.name}: ${typeOf(made)}${taker === undefined ? '' : ` {tf.aliasing_output = ${taker} : i32}`}`,
    );
    return made;
  };
  for (const input of inputs) {
    feeds.push(input);
    known.set(input, parameter(input));
  }
  for (const leaf of leaves) {
    if (leaf.kind === 'constant') known.set(leaf, writer.constant(leaf.data!, leaf.dtype, leaf.shape));
    if (known.has(leaf)) continue;
    let fed = byData.get(leaf.data!);
    if (!fed) {
      feeds.push(leaf);
      fed = parameter(leaf);
      byData.set(leaf.data!, fed);
    }
    known.set(leaf, writer.reshape(fed, leaf.shape));
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
  const flatOutputs = new Set(takers?.values());
  const results = wanted.map((value, i) => {
    const result = known.get(value)!;
    const whole = sum && replicas > 1 ? sumOverReplicas(writer, result, replicas) : result;
    return flatOutputs.has(i) ? writer.reshape(whole, [sizeOf(value.shape)]) : whole;
  });
  return { text: program(parameters, writer.lines, results, replicas), feeds };
}

function sumOverReplicas(writer: Writer, x: Tensor, replicas: number): Tensor {
  const scalar = typeOf({ dtype: x.dtype, shape: [] });
  const group = Array.from({ length: replicas }, (_, i) => i).join(', ');
  return writer.emit(
    `"stablehlo.all_reduce"(${x.name}) <{replica_groups = dense<[[${group}]]> : tensor<1x${replicas}xi64>, ` +
      `channel_handle = #stablehlo.channel_handle<handle = 0, type = 0>}> ({ ` +
      `^bb0(%left: ${scalar}, %right: ${scalar}): %sum = stablehlo.add %left, %right : ${scalar} ` +
      `stablehlo.return %sum : ${scalar} }) : (${typeOf(x)}) -> ${typeOf(x)}`,
    x.dtype,
    x.shape,
  );
}

function program(
  parameters: readonly string[],
  lines: readonly string[],
  results: readonly Tensor[],
  replicas: number,
): string {
  const types = results.map(typeOf).join(', ');
  return [
    replicas > 1 ? `module @repa attributes {mhlo.num_replicas = ${replicas} : i32} {` : 'module @repa {',
    `func.func public @main(${parameters.join(', ')}) -> (${types}) {`,
    ...lines,
    `return ${results.map(({ name }) => name).join(', ')} : ${types}`,
    '}',
    '}',
    '',
  ].join('\n');
}
