/** ONNX networks as recorded graphs, for devices that ONNX Runtime does not reach. */

import { graphBackend } from '../graph/backend.js';
import type { Value } from '../graph/value.js';
import * as tf from '../tfjs.js';
import { Given, type Item, recordedValue } from './item.js';
import { known } from './known.js';
import { NotLowered, type ReadGraph, type ReadNode } from './read.js';
import { RULES } from './rules.js';

export { NotLowered, type ReadGraph, readGraph } from './read.js';

/** The nodes that an output needs, in their order. */
function needed({ nodes }: ReadGraph, output: string): ReadNode[] {
  const wanted = new Set([output]);
  return nodes
    .toReversed()
    .filter(({ inputs, outputs }) => {
      if (!outputs.some((name) => wanted.has(name))) return false;
      for (const name of inputs) wanted.add(name);
      return true;
    })
    .toReversed();
}

/**
 * Records what makes `output` of an input [N, ...] whose sizes are known, so that all others are.
 * @throws NotLowered for an operator, or a form of one, that has no rule
 */
export function record(graph: ReadGraph, input: Value, inputName: string, output: string): Value {
  const items = new Map<string, Item>([...graph.weights, [inputName, input]]);
  for (const node of needed(graph, output)) {
    const given = new Given(
      node,
      node.inputs.map((name) => (name === '' ? undefined : (items.get(name) ?? missing(node, name)))),
      graph.opset,
    );
    const found = known(given);
    const rule = RULES[node.type];
    if (!found && !rule) throw new NotLowered(node.type);
    const made: Item[] = [found ?? rule(given)].flat();
    for (const [i, name] of node.outputs.entries()) if (made[i]) items.set(name, made[i]);
  }
  const found = items.get(output);
  if (!found) throw new NotLowered(`the output ${output}`);
  return recordedValue(found);
}

function missing(node: ReadNode, name: string): never {
  throw new NotLowered(`${node.type}, which reads ${name}`);
}

/** The same as a function of tensors. */
export function tensorFunction(graph: ReadGraph, input: string, output: string): (x: tf.Tensor) => tf.Tensor[] {
  return (x) => {
    const backend = graphBackend();
    const value = record(graph, backend.valueFor(x), input, output);
    return [tf.engine().makeTensorFromTensorInfo(backend.tensorFor(value))];
  };
}
