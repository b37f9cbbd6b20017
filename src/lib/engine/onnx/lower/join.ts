/** Operations of native/ that compute what follows them, while their results are in the cache. */
import { sameShape } from '../../../numbers/typed-array.js';
import { type OnnxGraph, type OnnxNode, OWN_DOMAIN } from '../model.js';
import { ACTIVATIONS, NO_ACTIVATION } from './writer.js';

/** The shapes of values, by name. */
type Shapes = ReadonlyMap<string, readonly number[]>;

/** Makes one node of a chain of several, again and again, until nothing fits any more. */
export function joinNodes(graph: OnnxGraph, shapes: Shapes): OnnxGraph {
  if (!graph.nodes.some(({ domain }) => domain === OWN_DOMAIN)) return graph;
  const joined = new Joining(graph, shapes);
  for (const node of graph.nodes) joined.follow(node);
  return { ...graph, nodes: paired(withoutUnread(joined.nodes, graph), graph, shapes) };
}

const isOwn = (node: OnnxNode | undefined, type: string): boolean => node?.domain === OWN_DOMAIN && node.type === type;

/** The number of an activation in native/; undefined for other nodes. */
function activationOf({ type, attributes }: OnnxNode): number | undefined {
  if (type === 'Relu') return ACTIVATIONS.Relu;
  if (type !== 'Gelu') return undefined;
  return attributes.approximate === 'tanh' ? ACTIVATIONS.GeluTanh : ACTIVATIONS.GeluErf;
}

/** x sigmoid(x). */
const isSilu = ({ type, attributes: { alpha } }: OnnxNode): boolean =>
  type === 'QuickGelu' && (alpha as { float: number }).float === 1;

class Joining {
  /** What the nodes have become, in their order; those that became part of another too. */
  readonly nodes: OnnxNode[] = [];
  readonly #makers = new Map<string, number>();
  readonly #readers = new Map<string, number>();
  readonly #shapes: Shapes;

  constructor({ nodes, outputs }: OnnxGraph, shapes: Shapes) {
    this.#shapes = shapes;
    const read = [...nodes.flatMap(({ inputs }) => inputs), ...outputs.map(({ name }) => name)];
    for (const name of read) this.#readers.set(name, (this.#readers.get(name) ?? 0) + 1);
  }

  /** Adds the next node, perhaps as a part of one before it. */
  follow(node: OnnxNode): void {
    this.#add(this.#activated(node) ?? this.#normed(node) ?? this.#added(node) ?? node);
  }

  #add(node: OnnxNode): void {
    for (const name of node.outputs) this.#makers.set(name, this.nodes.length);
    this.nodes.push(node);
  }

  /** What makes a value that nothing else reads, if shapes are overlooked. */
  #soleMaker(name: string): OnnxNode | undefined {
    const maker = this.#readers.get(name) === 1 ? this.nodes[this.#makers.get(name) ?? -1] : undefined;
    return maker?.type === 'Reshape' ? this.#soleMaker(maker.inputs[0]) : maker;
  }

  /** A product or a convolution computes the activation that alone reads it, perhaps in another shape. */
  #activated(node: OnnxNode): OnnxNode | undefined {
    const act = activationOf(node);
    const maker = act === undefined ? undefined : this.#soleMaker(node.inputs[0]);
    if (maker?.domain !== OWN_DOMAIN || maker.attributes.act !== NO_ACTIVATION || maker.inputs[3]) return undefined;
    this.nodes[this.#makers.get(maker.outputs[0])!] = { ...maker, attributes: { ...maker.attributes, act: act! } };
    return { ...node, type: 'Identity', domain: '', attributes: {} };
  }

  /** A group norm scales and shifts its channels, and computes the SiLU of that. */
  #normed(node: OnnxNode): OnnxNode | undefined {
    const { type, inputs, outputs } = node;
    const place = inputs.findIndex((name) => isOwn(this.#soleMaker(name), 'GroupNorm'));
    const norm = this.#soleMaker(inputs[place] ?? '');
    if (!norm || norm.attributes.silu) return undefined;
    if (isSilu(node)) return { ...norm, attributes: { ...norm.attributes, silu: 1 }, outputs };
    const [x, scale = '', shift = ''] = norm.inputs;
    const other = inputs[1 - place];
    if (!this.#isOfChannels(other, inputs[place])) return undefined;
    if (type === 'Mul' && !scale && !shift) return { ...norm, inputs: [x, other], outputs };
    if (type === 'Add' && !shift) return { ...norm, inputs: [x, scale, other], outputs };
    return undefined;
  }

  /** [1, C, 1, 1] beside [B, C, H, W]. */
  #isOfChannels(name: string, image: string): boolean {
    const shape = this.#shapes.get(name);
    const channels = this.#shapes.get(image)?.[1];
    return shape !== undefined && channels !== undefined && sameShape(shape, [1, channels, 1, 1]);
  }

  /** A convolution adds what has its shape. */
  #added({ type, inputs, outputs }: OnnxNode): OnnxNode | undefined {
    if (type !== 'Add') return undefined;
    for (const [x, residual] of [inputs, inputs.toReversed()]) {
      const maker = this.#soleMaker(x);
      const shapes = [x, residual].map((name) => this.#shapes.get(name));
      if (!maker || maker.outputs[0] !== x || !isOwn(maker, 'Convolution')) continue;
      const isAlike = shapes[0] && shapes[1] && sameShape(shapes[0], shapes[1]);
      if (!isAlike || maker.attributes.enlarged || maker.inputs[3]) continue;
      return { ...maker, inputs: [...maker.inputs, residual], outputs };
    }
    return undefined;
  }
}

/** Nodes of which something is read. */
function withoutUnread(nodes: readonly OnnxNode[], { outputs }: OnnxGraph): OnnxNode[] {
  const read = new Set(outputs.map(({ name }) => name));
  const kept = nodes.toReversed().filter((node) => {
    if (!node.outputs.some((name) => read.has(name))) return false;
    for (const name of node.inputs) read.add(name);
    return true;
  });
  return kept.reverse();
}

/** The nodes, where a group norm that only convolutions read is rounded for them. */
function paired(nodes: readonly OnnxNode[], { outputs }: OnnxGraph, shapes: Shapes): OnnxNode[] {
  const isEven = ({ outputs: [name], attributes: { groups } }: OnnxNode) =>
    (shapes.get(name)?.[1] ?? 1) % (2 * (groups as number)) === 0;
  const names = new Set(
    nodes.filter((node) => isOwn(node, 'GroupNorm') && isEven(node)).map((node) => node.outputs[0]),
  );
  for (const { name } of outputs) names.delete(name);
  for (const node of nodes) {
    for (const name of isOwn(node, 'Convolution') ? node.inputs.slice(1) : node.inputs) names.delete(name);
  }
  return nodes.map((node) => {
    const takesPart = names.has(node.outputs[0]) || (isOwn(node, 'Convolution') && names.has(node.inputs[0]));
    return takesPart ? { ...node, attributes: { ...node.attributes, paired: 1 } } : node;
  });
}
