/** Writes a graph as an ONNX ModelProto (field numbers of onnx/onnx.proto3). */
import { ProtobufWriter } from '../../formats/protobuf.js';
import { bytesOf, type TypedArray } from '../../numbers/typed-array.js';

/** The element types of tensors. */
export type ElementType = 'float32' | 'int32' | 'int64' | 'bool' | 'float64' | 'float16' | 'bfloat16';

/** TensorProto.DataType; also what the Cast operator takes. */
export const ONNX_TYPE: Readonly<Record<ElementType, number>> = {
  float32: 1,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  bfloat16: 16,
};

/** An integer, integers, a string, or a float (wrapped, as ONNX keeps integers and floats apart). */
export type Attribute = number | readonly number[] | string | { readonly float: number };
export type Attributes = Readonly<Record<string, Attribute>>;

export interface TensorType {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

export interface Initializer extends TensorType {
  readonly data: TypedArray;
}

export interface OnnxNode {
  readonly type: string;
  readonly domain: string;
  readonly attributes: Attributes;
  /** Names; '' stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
  readonly initializers: readonly Initializer[];
}

const IR_VERSION = 10;
const OPSET = 21;
export const CONTRIB_DOMAIN = 'com.microsoft';
/** Of the operations in native/. */
export const OWN_DOMAIN = 'repa';

export const hasOwnOperations = ({ nodes }: OnnxGraph): boolean => nodes.some(({ domain }) => domain === OWN_DOMAIN);

const ATTRIBUTE_KIND = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** Data of an initializer that stays outside of the model, which knows it by name. */
export interface ExternalData {
  readonly path: string;
  readonly data: Uint8Array;
}

/** Initializers that are worth it, in bytes. */
const LARGE = 4096;
/** TensorProto.DataLocation. */
const EXTERNAL = 1;

/** @param external receives the data of large initializers; without it all are part of the model */
export function encodeModel(graph: OnnxGraph, external?: ExternalData[]): Uint8Array<ArrayBuffer> {
  const model = new ProtobufWriter();
  model.integer(1, IR_VERSION);
  model.message(7, (writer) => writeGraph(writer, graph, external));
  writeOpset(model, '', OPSET);
  writeOpset(model, CONTRIB_DOMAIN, 1);
  if (hasOwnOperations(graph)) writeOpset(model, OWN_DOMAIN, 1);
  return model.finish();
}

function writeOpset(model: ProtobufWriter, domain: string, version: number): void {
  model.message(8, (opset) => {
    opset.string(1, domain);
    opset.integer(2, version);
  });
}

function writeGraph(writer: ProtobufWriter, graph: OnnxGraph, external?: ExternalData[]): void {
  for (const node of graph.nodes) writer.message(1, (nested) => writeNode(nested, node));
  writer.string(2, 'repa');
  for (const initializer of graph.initializers)
    writer.message(5, (nested) => writeTensor(nested, initializer, external));
  for (const input of graph.inputs) writer.message(11, (nested) => writeValueInfo(nested, input));
  for (const output of graph.outputs) writer.message(12, (nested) => writeValueInfo(nested, output));
}

function writeNode(writer: ProtobufWriter, node: OnnxNode): void {
  for (const input of node.inputs) writer.string(1, input);
  for (const output of node.outputs) writer.string(2, output);
  writer.string(4, node.type);
  for (const [name, value] of Object.entries(node.attributes)) {
    writer.message(5, (nested) => writeAttribute(nested, name, value));
  }
  if (node.domain) writer.string(7, node.domain);
}

function writeAttribute(writer: ProtobufWriter, name: string, value: Attribute): void {
  writer.string(1, name);
  if (typeof value === 'number') {
    writer.integer(3, value);
    writer.integer(20, ATTRIBUTE_KIND.int);
  } else if (typeof value === 'string') {
    writer.string(4, value);
    writer.integer(20, ATTRIBUTE_KIND.string);
  } else if ('float' in value) {
    writer.float(2, value.float);
    writer.integer(20, ATTRIBUTE_KIND.float);
  } else {
    for (const item of value) writer.integer(8, item);
    writer.integer(20, ATTRIBUTE_KIND.ints);
  }
}

function writeTensor(writer: ProtobufWriter, tensor: Initializer, external?: ExternalData[]): void {
  for (const dim of tensor.shape) writer.integer(1, dim);
  writer.integer(2, ONNX_TYPE[tensor.dtype]);
  writer.string(8, tensor.name);
  const data = bytesOf(tensor.data);
  if (!external || data.length < LARGE) writer.bytes(9, data);
  else {
    external.push({ path: tensor.name, data });
    writeEntry(writer, 13, 'location', tensor.name);
    writer.integer(14, EXTERNAL);
  }
}

function writeEntry(writer: ProtobufWriter, field: number, key: string, value: string): void {
  writer.message(field, (entry) => {
    entry.string(1, key);
    entry.string(2, value);
  });
}

function writeValueInfo(writer: ProtobufWriter, value: TensorType): void {
  writer.string(1, value.name);
  writer.message(2, (type) =>
    type.message(1, (tensor) => {
      tensor.integer(1, ONNX_TYPE[value.dtype]);
      tensor.message(2, (shape) => {
        for (const size of value.shape) shape.message(1, (dim) => dim.integer(1, size));
      });
    }),
  );
}
