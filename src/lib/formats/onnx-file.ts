/** The inputs, outputs and operators of an ONNX file, read without computing it (ModelProto of onnx.proto3). */
import { constants } from 'node:buffer';
import { DataError } from '../errors.js';
import { sizeOf } from '../numbers/typed-array.js';
import { BinaryFile } from './binary-file.js';
import { type ProtobufField, protobufFields, varintsOf } from './protobuf-fields.js';

/** A number, or the name of a size that is left open. */
export type OnnxSize = number | string;

export interface OnnxPort {
  readonly name: string;
  readonly type: string;
  /** Undefined where the rank is open. */
  readonly shape: readonly OnnxSize[] | undefined;
}

export interface OnnxFile {
  readonly producer: string;
  /** The version of each set of operators, `ai.onnx` by the name of ''. */
  readonly opsets: ReadonlyMap<string, number>;
  /** The inputs that are not weights. */
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  /** How often each operator occurs in the graph. */
  readonly operators: ReadonlyMap<string, number>;
  readonly weights: number;
  readonly parameters: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** TensorProto.DataType. */
const TYPES: readonly string[] =
  'undefined f32 u8 i8 u16 i16 i32 i64 text bool f16 f64 u32 u64 complex64 complex128 bf16 f8e4m3 f8e4m3fnuz f8e5m2 f8e5m2fnuz u4 i4'.split(
    ' ',
  );

const MODEL = { producer: 2, producerVersion: 3, graph: 7, opset: 8, metadata: 14 } as const;
const GRAPH = { node: 1, initializer: 5, input: 11, output: 12 } as const;
const TENSOR = { dims: 1, name: 8 } as const;

const text = (found: ProtobufField): string => (found.wire === 0 ? '' : found.bytes.toString('utf8'));
const whole = (found: ProtobufField): number => (found.wire === 0 ? Number(BigInt.asIntN(64, found.value)) : 0);

/**
 * @throws MissingInputError when there is no such file; DataError when it is no ONNX model
 */
export function readOnnxFile(path: string): OnnxFile {
  const file = new BinaryFile(path);
  try {
    if (file.size > constants.MAX_LENGTH) throw new DataError(`${path}: ${file.size} bytes are no ONNX model`);
    return parseModel(file.read(0, file.size), path);
  } finally {
    file.close();
  }
}

function parseModel(bytes: Uint8Array, where: string): OnnxFile {
  const nested = (found: ProtobufField): Generator<ProtobufField> =>
    protobufFields(found.wire === 2 ? found.bytes : new Uint8Array(), where);
  const all = (found: ProtobufField, number: number): ProtobufField[] =>
    [...nested(found)].filter(({ field }) => field === number);
  const first = (found: ProtobufField, number: number): ProtobufField | undefined => all(found, number)[0];
  const textAt = (found: ProtobufField, number: number): string => {
    const inner = first(found, number);
    return inner ? text(inner) : '';
  };
  const portOf = (found: ProtobufField): OnnxPort => {
    const tensor = [2, 1].reduce<ProtobufField | undefined>((at, number) => at && first(at, number), found);
    const type = tensor && first(tensor, 1);
    const shape = tensor && first(tensor, 2);
    const sizes =
      shape &&
      all(shape, 1).map((dim): OnnxSize => {
        const fixed = first(dim, 1);
        return fixed ? whole(fixed) : textAt(dim, 2) || '?';
      });
    return { name: textAt(found, 1), type: TYPES[type ? whole(type) : 0] ?? 'unknown', shape: sizes };
  };

  const model = [...protobufFields(bytes, where)];
  const graph = model.find(({ field }) => field === MODEL.graph);
  if (graph?.wire !== 2) throw new DataError(`${where}: holds no ONNX graph`);
  const [producer, version] = [MODEL.producer, MODEL.producerVersion].map((number) => {
    const found = model.find(({ field }) => field === number);
    return found ? text(found) : '';
  });
  const [weights, ports, operators] = [
    new Set<string>(),
    { inputs: [] as OnnxPort[], outputs: [] as OnnxPort[] },
    new Map<string, number>(),
  ];
  let parameters = 0;
  for (const found of nested(graph)) {
    if (found.field === GRAPH.node) {
      const operator = textAt(found, 4);
      operators.set(operator, (operators.get(operator) ?? 0) + 1);
    } else if (found.field === GRAPH.initializer) {
      const dims = all(found, TENSOR.dims).flatMap((dim) => [...varintsOf(dim, where)].map(Number));
      parameters += sizeOf(dims);
      weights.add(textAt(found, TENSOR.name));
    } else if (found.field === GRAPH.input) ports.inputs.push(portOf(found));
    else if (found.field === GRAPH.output) ports.outputs.push(portOf(found));
  }
  return {
    producer: [producer, version].filter((part) => part !== '').join(' '),
    opsets: new Map(
      model
        .filter(({ field }) => field === MODEL.opset)
        .map((found) => {
          const number = first(found, 2);
          return [textAt(found, 1), number ? whole(number) : 0];
        }),
    ),
    inputs: ports.inputs.filter(({ name }) => !weights.has(name)), // before version 4, weights were inputs, too
    outputs: ports.outputs,
    operators,
    weights: weights.size,
    parameters,
    metadata: Object.fromEntries(
      model.filter(({ field }) => field === MODEL.metadata).map((found) => [textAt(found, 1), textAt(found, 2)]),
    ),
  };
}
