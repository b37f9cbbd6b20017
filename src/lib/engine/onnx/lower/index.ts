/** Turns the part of a recorded graph that some values need into one ONNX graph. */
import type { OperationName } from '../../graph/operations.js';
import { sortOperations } from '../../graph/order.js';
import type { Operation, Value } from '../../graph/value.js';
import type { OnnxGraph, OnnxNode, TensorType } from '../model.js';
import type { Packing } from '../packing.js';
import { ELEMENTWISE } from './elementwise.js';
import { IMAGE } from './image.js';
import { joinNodes } from './join.js';
import type { Lowering } from './lowering.js';
import { NORMALISE } from './normalise.js';
import { PRODUCT } from './product.js';
import { REDUCE } from './reduce.js';
import type { Rule, Rules } from './rule.js';
import { SHAPE } from './shape.js';
import { NodeWriter } from './writer.js';

/** How each operation is written. */
export const RULES: Rules<OperationName> = {
  ...ELEMENTWISE,
  ...SHAPE,
  ...REDUCE,
  ...PRODUCT,
  ...NORMALISE,
  ...IMAGE,
};

export interface LoweredGraph {
  readonly graph: OnnxGraph;
  /** The values that have to be fed, in the order of `graph.inputs`. */
  readonly feeds: readonly Value[];
}

/**
 * `bake` says which leaves become part of the graph; the others are its inputs, and so are those that `packing` lays
 * out anew.
 */
export function lower(
  wanted: readonly Value[],
  lowering: Lowering,
  bake: (leaf: Value) => boolean,
  packing: Packing = (array, _layout, pack) => pack(array),
): LoweredGraph {
  const { operations, leaves } = sortOperations(wanted);
  const writer = new NodeWriter(lowering, packing);
  const names = new Map<Value, string>();
  for (const leaf of leaves) {
    const isPart = leaf.kind === 'constant' || bake(leaf);
    names.set(leaf, isPart ? writer.bake(leaf) : writer.feed(leaf));
  }
  for (const operation of operations) write(writer, operation, names);
  const { feeds } = writer;
  const inputs = feeds.map((value, index) => tensorType(`input${index}`, value));
  const { outputs, copies } = nameOutputs(wanted, names, leaves);
  const nodes = [
    ...writer.nodes,
    ...copies.map((copy) => ({ ...copy, inputs: copy.inputs.map((x) => writer.read(x)) })),
  ];
  const shapes = new Map([...names].map(([{ shape }, name]) => [name, shape]));
  return { graph: joinNodes({ nodes, inputs, outputs, initializers: writer.initializers }, shapes), feeds };
}

function write(writer: NodeWriter, operation: Operation, names: Map<Value, string>): void {
  const rule = RULES[operation.name] as Rule<OperationName>;
  const inputs = operation.inputs.map((input) => names.get(input)!);
  const outputs = [rule(writer, inputs, operation)].flat();
  operation.outputs.forEach((output, index) => {
    names.set(output, outputs[index]);
  });
}

/** Graph outputs need names of their own: a leaf's name, or one that is wanted twice, is passed through Identity. */
function nameOutputs(wanted: readonly Value[], names: ReadonlyMap<Value, string>, leaves: readonly Value[]) {
  const copies: OnnxNode[] = [];
  const taken = new Set(leaves.map((leaf) => names.get(leaf)!));
  const outputs = wanted.map((value, index): TensorType => {
    const name = names.get(value)!;
    if (!taken.has(name)) {
      taken.add(name);
      return tensorType(name, value);
    }
    const copy = `output${index}`;
    copies.push({ type: 'Identity', domain: '', attributes: {}, inputs: [name], outputs: [copy] });
    return tensorType(copy, value);
  });
  return { outputs, copies };
}

const tensorType = (name: string, { dtype, shape }: Value): TensorType => ({ name, dtype, shape });
