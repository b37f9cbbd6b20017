/** An ONNX file as nodes and weights (onnx.proto3), for those who compute it by themselves. */
import { readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../../errors.js';
import { BinaryFile } from '../../formats/binary-file.js';
import { type ProtobufField, protobufFields, varintsOf } from '../../formats/protobuf-fields.js';
import { floatFromHalf } from '../../numbers/half.js';
import { sizeOf } from '../../numbers/typed-array.js';

/** Numbers that are known before anything is computed. */
export interface KnownTensor {
  readonly dtype: 'float32' | 'int32';
  readonly shape: readonly number[];
  /** Integers of 64 bits, of which files have sizes and places, are exact up to 2^53. */
  readonly data: Float32Array | Float64Array;
}

export type OnnxAttribute = number | string | readonly number[] | KnownTensor | undefined;

export interface ReadNode {
  readonly type: string;
  /** Names; '' stands for one that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
}

export interface ReadGraph {
  readonly nodes: readonly ReadNode[];
  readonly weights: ReadonlyMap<string, KnownTensor>;
  /** The version of the operators. */
  readonly opset: number;
}

const MODEL = { graph: 7, opset: 8 } as const;
const GRAPH = { node: 1, initializer: 5 } as const;
const NODE = { input: 1, output: 2, type: 4, attribute: 5, domain: 7 } as const;
const ATTRIBUTE = { name: 1, float: 2, integer: 3, text: 4, tensor: 5, floats: 7, integers: 8, type: 20 } as const;
const TENSOR = { dims: 1, type: 2, floats: 4, int32s: 5, int64s: 7, name: 8, raw: 9, external: 13 } as const;

/** AttributeProto.AttributeType. */
const KIND = { float: 1, integer: 2, text: 3, tensor: 4, floats: 6, integers: 7 } as const;

/** TensorProto.DataType, as far as it is read. */
const TYPE = { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10 } as const;

/** Fields of one message by their number. */
class Message {
  readonly #fields = new Map<number, ProtobufField[]>();

  constructor(
    bytes: Uint8Array,
    readonly where: string,
  ) {
    for (const found of protobufFields(bytes, where)) {
      this.#fields.set(found.field, [...(this.#fields.get(found.field) ?? []), found]);
    }
  }

  all(field: number): readonly ProtobufField[] {
    return this.#fields.get(field) ?? [];
  }

  bytes(field: number): Buffer[] {
    return this.all(field).flatMap((found) => (found.wire === 0 ? [] : [found.bytes]));
  }

  messages(field: number): Message[] {
    return this.bytes(field).map((bytes) => new Message(bytes, this.where));
  }

  texts(field: number): string[] {
    return this.bytes(field).map((bytes) => bytes.toString('utf8'));
  }

  integers(field: number): number[] {
    return this.all(field).flatMap((found) =>
      [...varintsOf(found, this.where)].map((value) => Number(BigInt.asIntN(64, value))),
    );
  }

  /** Each alone, or several packed. */
  floats(field: number): Float32Array {
    const bytes = Buffer.concat(this.bytes(field));
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  }
}

/** What is not read, or not computed: the network has to be left to ONNX Runtime. */
export class NotLowered extends Error {}

/**
 * @throws NotLowered for what it holds besides tensors of floats and integers; DataError when it is no ONNX model
 */
export function readGraph(file: string): ReadGraph {
  const model = new Message(readFileSync(file), file);
  const [graph] = model.messages(MODEL.graph);
  if (!graph) throw new DataError(`${file}: holds no ONNX graph`);
  const opset = model.messages(MODEL.opset).find((one) => (one.texts(1)[0] ?? '') === '');
  return {
    nodes: graph.messages(GRAPH.node).map(nodeOf),
    weights: new Map(
      graph.messages(GRAPH.initializer).map((tensor) => [tensor.texts(TENSOR.name)[0] ?? '', tensorOf(tensor, file)]),
    ),
    opset: opset?.integers(2)[0] ?? 0,
  };
}

function nodeOf(node: Message): ReadNode {
  const [type = ''] = node.texts(NODE.type);
  const [domain = ''] = node.texts(NODE.domain);
  if (domain !== '' && domain !== 'ai.onnx') throw new NotLowered(`${domain}.${type}`);
  return {
    type,
    inputs: node.texts(NODE.input),
    outputs: node.texts(NODE.output),
    attributes: new Map(node.messages(NODE.attribute).map((attribute) => attributeOf(attribute, type))),
  };
}

function attributeOf(attribute: Message, node: string): [string, OnnxAttribute] {
  const [name = ''] = attribute.texts(ATTRIBUTE.name);
  const [kind] = attribute.integers(ATTRIBUTE.type);
  if (kind === KIND.float) return [name, attribute.floats(ATTRIBUTE.float)[0]];
  if (kind === KIND.integer) return [name, attribute.integers(ATTRIBUTE.integer)[0]];
  if (kind === KIND.text) return [name, attribute.texts(ATTRIBUTE.text)[0] ?? ''];
  if (kind === KIND.floats) return [name, Array.from(attribute.floats(ATTRIBUTE.floats))];
  if (kind === KIND.integers) return [name, attribute.integers(ATTRIBUTE.integers)];
  const [tensor] = attribute.messages(ATTRIBUTE.tensor);
  if (kind === KIND.tensor && tensor) return [name, tensorOf(tensor, attribute.where)];
  throw new NotLowered(`${node} with ${name}`);
}

function tensorOf(tensor: Message, file: string): KnownTensor {
  const shape = tensor.integers(TENSOR.dims);
  const [type] = tensor.integers(TENSOR.type);
  const bytes = tensor.bytes(TENSOR.raw)[0] ?? externalBytes(tensor, file);
  const count = sizeOf(shape);
  const made = (dtype: KnownTensor['dtype'], data: KnownTensor['data']): KnownTensor => {
    if (data.length !== count) throw new DataError(`${file}: a tensor of [${shape}] holds ${data.length} numbers`);
    return { dtype, shape, data };
  };
  if (type === TYPE.float32) return made('float32', bytes ? floatsOf(bytes) : tensor.floats(TENSOR.floats));
  if (type === TYPE.float16) {
    const halves = bytes ? new Uint16Array(Uint8Array.from(bytes).buffer) : tensor.integers(TENSOR.int32s);
    return made('float32', floatFromHalf(Uint16Array.from(halves)));
  }
  if (type === TYPE.int64) {
    const numbers = bytes
      ? Array.from({ length: bytes.length / 8 }, (_, i) => Number(bytes.readBigInt64LE(8 * i)))
      : tensor.integers(TENSOR.int64s);
    return made('int32', Float64Array.from(numbers));
  }
  if (type === TYPE.int32 || type === TYPE.bool) {
    const width = type === TYPE.bool ? 1 : 4;
    const numbers = bytes
      ? Array.from({ length: bytes.length / width }, (_, i) => bytes.readIntLE(width * i, width))
      : tensor.integers(TENSOR.int32s);
    return made('int32', Float64Array.from(numbers));
  }
  throw new NotLowered(`tensors of type ${type}`);
}

/** A copy, which lies where numbers may lie. */
const floatsOf = (bytes: Uint8Array): Float32Array => new Float32Array(Uint8Array.from(bytes).buffer);

/** What lies in another file of the model's folder. */
function externalBytes(tensor: Message, file: string): Buffer | undefined {
  const entries = new Map(tensor.messages(TENSOR.external).map((one) => [one.texts(1)[0], one.texts(2)[0]]));
  const location = entries.get('location');
  if (location === undefined) return undefined;
  const folder = realpathSync(path.dirname(file));
  const beside = path.resolve(folder, location);
  if (!realpathSync(beside).startsWith(folder + path.sep)) throw new NotLowered(`weights of another folder`);
  const weights = new BinaryFile(beside);
  try {
    const offset = Number(entries.get('offset') ?? 0);
    return Buffer.from(weights.read(offset, Number(entries.get('length') ?? weights.size - offset)));
  } finally {
    weights.close();
  }
}
