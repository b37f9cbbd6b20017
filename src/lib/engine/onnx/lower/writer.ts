/** Nodes and initializers of an ONNX graph that is being made. */
import { sizeOf, type TypedArray } from '../../../numbers/typed-array.js';
import { ARRAYS, type ElementType } from '../../graph/value.js';
import {
  type Attributes,
  CONTRIB_DOMAIN,
  type Initializer,
  ONNX_TYPE,
  type ElementType as OnnxElementType,
  type OnnxNode,
  OWN_DOMAIN,
} from '../model.js';
import type { Lowering } from './lowering.js';

/** A float attribute; plain numbers are integers. */
export const float = (value: number) => ({ float: value });

/** The largest number of float32. */
export const LARGEST = (2 - 2 ** -23) * 2 ** 127;

export const flag = (value: boolean): number => (value ? 1 : 0);

/** Names of values; null stands for an optional input that is left out. */
type Inputs = readonly (string | null)[];

export class NodeWriter {
  readonly nodes: OnnxNode[] = [];
  readonly #initializers = new Initializers();
  #values = 0;

  constructor(readonly lowering: Lowering) {}

  get initializers(): readonly Initializer[] {
    return this.#initializers.list;
  }

  /** A node of several outputs; their names. */
  nodeOf(count: number, type: string, inputs: Inputs, attributes: Attributes = {}, domain = ''): string[] {
    const outputs = Array.from({ length: count }, () => `value${this.#values++}`);
    this.nodes.push({ type, domain, attributes, inputs: inputs.map((name) => name ?? ''), outputs });
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
    return this.nodeOf(1, type, inputs, attributes, OWN_DOMAIN)[0];
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
