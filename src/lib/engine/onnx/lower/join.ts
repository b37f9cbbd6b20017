/** Activations that the operations of native/ compute while their results are in the cache. */
import { type OnnxGraph, type OnnxNode, OWN_DOMAIN } from '../model.js';
import { ACTIVATIONS, NO_ACTIVATION } from './writer.js';

/** The number of an activation in native/; undefined for other nodes. */
function activationOf({ type, attributes }: OnnxNode): number | undefined {
  if (type === 'Relu') return ACTIVATIONS.Relu;
  if (type !== 'Gelu') return undefined;
  return attributes.approximate === 'tanh' ? ACTIVATIONS.GeluTanh : ACTIVATIONS.GeluErf;
}

/** Where a product or a convolution of native/ is read by an activation alone, perhaps in another shape, it computes that. */
export function joinActivations(graph: OnnxGraph): OnnxGraph {
  const makers = new Map<string, OnnxNode>();
  const readers = new Map<string, number>();
  const count = (name: string) => readers.set(name, (readers.get(name) ?? 0) + 1);
  for (const node of graph.nodes) {
    for (const name of node.inputs) count(name);
    for (const name of node.outputs) makers.set(name, node);
  }
  for (const { name } of graph.outputs) count(name);

  /** What makes a value that nothing else reads, if shapes are overlooked. */
  function soleMaker(name: string): OnnxNode | undefined {
    const maker = readers.get(name) === 1 ? makers.get(name) : undefined;
    return maker?.type === 'Reshape' ? soleMaker(maker.inputs[0]) : maker;
  }

  const changed = new Map<OnnxNode, OnnxNode>();
  for (const node of graph.nodes) {
    const act = activationOf(node);
    const maker = act === undefined ? undefined : soleMaker(node.inputs[0]);
    if (act === undefined || maker?.domain !== OWN_DOMAIN || maker.attributes.act !== NO_ACTIVATION) continue;
    changed.set(maker, { ...maker, attributes: { ...maker.attributes, act } });
    changed.set(node, { ...node, type: 'Identity', attributes: {} });
  }
  return { ...graph, nodes: graph.nodes.map((node) => changed.get(node) ?? node) };
}
