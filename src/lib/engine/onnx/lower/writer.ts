/** Nodes and initializers of an ONNX graph that is being made. */
import { sizeOf, type TypedArray } from '../../../numbers/typed-array.js';
import type { ElementType } from '../../graph/operations.js';
import { ARRAYS, Value } from '../../graph/value.js';
import {
  type Attributes,
  CONTRIB_DOMAIN,
  type Initializer,
  ONNX_TYPE,
  type ElementType as OnnxElementType,
  type OnnxNode,
  OWN_DOMAIN,
} from '../model.js';
import type { Packing } from '../packing.js';
import type { Lowering } from './lowering.js';

/** A float attribute; plain numbers are integers. */
export const float = (value: number) => ({ float: value });

/** The largest number of float32. */
export const LARGEST = (2 - 2 ** -23) * 2 ** 127;

export const flag = (value: boolean): number => (value ? 1 : 0);

/** enum gemm_act of native/gemm.h, by the ONNX nodes that it takes the place of. */
export const NO_ACTIVATION = 0;
export const ACTIVATIONS = { GeluErf: 1, GeluTanh: 2, Relu: 3 } as const;

/** Names of values; null stands for an optional input that is left out. */
type Inputs = readonly (string | null)[];

export class NodeWriter {
  readonly nodes: OnnxNode[] = [];
  /** The values that have to be fed, in the order of the graph's inputs. */
  readonly feeds: Value[] = [];
  readonly #initializers = new Initializers();
  /** Leaves that are part of the graph, by the names under which nodes read them as they are. */
  readonly #baked = new Map<string, Value>();
  readonly #packed = new Map<string, string>();
  #values = 0;

  readonly #packing: Packing;

  constructor(
    readonly lowering: Lowering,
    packing: Packing,
  ) {
    this.#packing = packing;
  }

  get initializers(): readonly Initializer[] {
    return this.#initializers.list;
  }

  /** Whether a tensor of this shape is too large for some kernels. */
  exceedsBinding(shape: readonly number[]): boolean {
    return 4 * sizeOf(shape) > this.lowering.bindingBytes;
  }

  /** A node of several outputs; their names. */
  nodeOf(count: number, type: string, inputs: Inputs, attributes: Attributes = {}, domain = ''): string[] {
    const outputs = Array.from({ length: count }, () => `value${this.#values++}`);
    this.nodes.push({ type, domain, attributes, inputs: inputs.map((name) => (name ? this.read(name) : '')), outputs });
    return outputs;
  }

  /** A node of one output; its name. */
  node(type: string, inputs: Inputs, attributes: Attributes = {}): string {
    return this.nodeOf(1, type, inputs, attributes)[0];
  }

  /** A node of ONNX Runtime's own set (com.microsoft). */
  contribNode(type: string, inputs: Inputs, attributes: Attributes = {}): string {
    return this.nodeOf(1, type, inputs, attributes, CONTRIB_DOMAIN)[0];
  }

  /** A node of the operations in native/. */
  ownNode(type: string, inputs: Inputs, attributes: Attributes = {}): string {
    return this.ownNodes(1, type, inputs, attributes)[0];
  }

  /** One of several outputs. */
  ownNodes(count: number, type: string, inputs: Inputs, attributes: Attributes = {}): string[] {
    return this.nodeOf(count, type, inputs, attributes, OWN_DOMAIN);
  }

  /** The node that has made a value. */
  makerOf(name: string): OnnxNode {
    return this.nodes.find(({ outputs }) => outputs.includes(name))!;
  }

  /** A leaf that becomes part of the graph once a node reads it: as it is, or packed. */
  bake(leaf: Value): string {
    const name = `baked${this.#baked.size}`;
    this.#baked.set(name, leaf);
    return name;
  }

  /** The leaf that is part of the graph under this name. */
  bakedLeaf(name: string): Value | undefined {
    return this.#baked.get(name);
  }

  /** An input; its name. */
  feed(value: Value): string {
    return `input${this.feeds.push(value) - 1}`;
  }

  /**
   * A baked leaf's data in another layout, which `layout` names: an input, as what is part of a model is copied.
   */
  packed(name: string, layout: string, pack: (data: Float32Array) => Float32Array): string {
    const key = `${name} ${layout}`;
    const known = this.#packed.get(key);
    if (known) return known;
    const data = this.#packing(this.#baked.get(name)!.data as Float32Array, layout, pack);
    const made = this.feed(new Value('float32', [data.length], { kind: 'data', data }));
    this.#packed.set(key, made);
    return made;
  }

  /** The name by which a node reads a value: that of an initializer where it is a baked leaf. */
  read(name: string): string {
    const leaf = this.#baked.get(name);
    return leaf ? this.#initializers.of(leaf) : name;
  }

  constant(data: TypedArray, dtype: OnnxElementType, shape: readonly number[]): string {
    return this.#initializers.add({ dtype, shape, data });
  }

  /** A vector of int64, as ONNX takes shapes, axes and offsets. */
  int64s(values: readonly number[]): string {
    return this.constant(
      BigInt64Array.from(values, (value) => BigInt(value)),
      'int64',
      [values.length],
    );
  }

  scalar(value: number, dtype: ElementType = 'float32'): string {
    return this.constant(ARRAYS[dtype].of(value), dtype, []);
  }

  /** float32, all of one value. */
  filled(value: number, shape: readonly number[]): string {
    return this.constant(new Float32Array(sizeOf(shape)).fill(value), 'float32', shape);
  }

  reshape(x: string, shape: readonly number[]): string {
    return this.node('Reshape', [x, this.int64s(shape)]);
  }

  transpose(x: string, perm: readonly number[]): string {
    return this.node('Transpose', [x], { perm });
  }

  cast(x: string, dtype: OnnxElementType): string {
    return this.node('Cast', [x], { to: ONNX_TYPE[dtype] });
  }
}

/** Equal small constants (shapes, axes, scalars) are written once. */
class Initializers {
  static readonly #SMALL = 64;
  readonly list: Initializer[] = [];
  readonly #names = new Map<string, string>();
  readonly #leaves = new Map<Value, string>();

  of(leaf: Value): string {
    const name = this.#leaves.get(leaf) ?? this.add({ dtype: leaf.dtype, shape: leaf.shape, data: leaf.data! });
    this.#leaves.set(leaf, name);
    return name;
  }

  add({ dtype, shape, data }: Omit<Initializer, 'name'>): string {
    const name = `constant${this.list.length}`;
    const key = data.length <= Initializers.#SMALL ? `${dtype}[${shape}]${data.join()}` : name;
    const known = this.#names.get(key);
    if (known) return known;
    this.#names.set(key, name);
    this.list.push({ name, dtype, shape, data });
    return name;
  }
}
