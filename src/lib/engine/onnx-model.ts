/**
 * ONNX model files of any origin, run as they are. They run on ONNX Runtime whatever the backend, and stay out of
 * index.ts so that other verbs do not load it for nothing.
 */
import { existsSync } from 'node:fs';
import { DataError, UnavailableError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { floatFromHalf, halfFromFloat } from '../numbers/half.js';
import { ort } from './onnx/runtime/library.js';
import { OrtSession, type PortType as RawPort } from './onnx/runtime/session.js';
import { HostTensor, readTensor } from './onnx/runtime/tensor.js';
import { guard } from './onnx/session.js';
import { engineInfo } from './select.js';

/** The element types that are passed in and out; f16 is converted. */
export type PortType = 'float32' | 'float16';

/** An input or an output of floats. */
export interface Port {
  readonly name: string;
  readonly type: PortType;
  /** Undefined where the model leaves a size open; empty where it does not even tell the rank. */
  readonly shape: readonly (number | undefined)[];
}

export interface FloatTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** TensorProto.DataType. */
const PORT_TYPES = new Map<number, PortType>([
  [1, 'float32'],
  [10, 'float16'],
]);

export class OnnxModel {
  readonly file: string;
  readonly inputs: readonly Port[];
  /** Those of floats; others are left out. */
  readonly outputs: readonly Port[];
  readonly #session: OrtSession;

  /** @throws DataError when an input is not of floats. */
  constructor(file: string, session: OrtSession) {
    this.file = file;
    this.#session = session;
    this.inputs = session.inputs().map((input) => {
      const found = port(input);
      if (!found) throw new DataError(`${file}: its input '${input.name}' does not take floats`);
      return found;
    });
    this.outputs = session.outputs().flatMap((output) => port(output) ?? []);
  }

  /**
   * Computes one output of a model with one input.
   * @throws DataError when the model does not take this shape; UnavailableError when memory runs out
   */
  run({ shape, data }: FloatTensor, output: string): FloatTensor {
    const [{ name, type }] = this.inputs;
    const fed = new HostTensor({ dtype: type, shape }, type === 'float16' ? halfFromFloat(data) : data);
    const plan = this.#session.plan([name], [output]);
    plan.inputs[0] = fed.handle;
    try {
      return guard(() => {
        plan.run();
        return floatsOf(plan.outputs[0]);
      });
    } catch (error) {
      if (error instanceof UnavailableError) throw error;
      throw new DataError(`${this.file}: cannot be run on an input of [${shape}]: ${(error as Error).message}`);
    } finally {
      fed.release();
      if (plan.outputs[0]) ort().ReleaseValue(plan.outputs[0]);
    }
  }

  /** What computes it, as provenance tells it. */
  get engine(): string {
    return `onnx ${ort().version}`;
  }

  dispose(): void {
    this.#session.release();
  }
}

function port({ name, type, shape }: RawPort): Port | undefined {
  const known = PORT_TYPES.get(type);
  return known && { name, type: known, shape: shape.map((size) => (size < 0 ? undefined : size)) };
}

/** A copy of what a tensor of f32 or f16 holds. */
function floatsOf(tensor: bigint): FloatTensor {
  const { type, shape, bytes } = readTensor(tensor);
  const isHalf = PORT_TYPES.get(type) === 'float16';
  return { shape, data: isHalf ? floatFromHalf(new Uint16Array(bytes)) : new Float32Array(bytes) };
}

/**
 * Opens an ONNX file; its external weights, if any, lie beside it. Needs a selected backend, for its threads.
 * @throws MissingInputError when there is no such file; DataError when ONNX Runtime cannot load it
 */
export function openOnnxModel(file: string): OnnxModel {
  if (!existsSync(file)) throw missingInput(file);
  try {
    return new OnnxModel(
      file,
      guard(() => new OrtSession(file, { threads: engineInfo().threads, reused: true })),
    );
  } catch (error) {
    if (error instanceof DataError || error instanceof UnavailableError) throw error;
    throw new DataError(`${file}: not an ONNX model that can be run here: ${(error as Error).message}`);
  }
}
