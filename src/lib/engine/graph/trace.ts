/** Records a function once, to run it many times. */
import type { CompileOptions, Constants, Program, TensorFunction, TensorSpec } from '../engine.js';
import * as tf from '../tfjs.js';
import { graphBackend } from './backend.js';
import { productFlops } from './flops.js';
import { sortOperations } from './order.js';
import { cast, nextValueId, Value } from './value.js';

/** What `fn` makes of place holders. */
export function trace(fn: TensorFunction, specs: readonly TensorSpec[]): { inputs: Value[]; outputs: Value[] } {
  const backend = graphBackend();
  const firstId = nextValueId();
  const inputs = specs.map(({ dtype, shape }) => new Value(dtype, shape, { kind: 'input' }));
  backend.tracing = true;
  let outputs: Value[] = [];
  try {
    tf.tidy(() => {
      const placeholders = inputs.map((input) => {
        const seen = input.dtype === 'float64' ? cast(input, 'float32') : input;
        return tf.engine().makeTensorFromTensorInfo(backend.tensorFor(seen));
      });
      outputs = fn(...placeholders).map((tensor) => backend.valueFor(tensor));
    });
  } finally {
    backend.tracing = false;
  }
  computeOlder(outputs, firstId);
  return { inputs, outputs };
}

/** Pending values that were there before the trace are computed now, once, instead of at each run. */
function computeOlder(outputs: readonly Value[], firstId: number): void {
  const traced = sortOperations(outputs).operations.filter((operation) => operation.outputs[0].id >= firstId);
  const read = [...outputs, ...traced.flatMap(({ inputs }) => inputs)];
  graphBackend().flush(read.filter((value) => value.id < firstId));
}

/** A function as a program of the target in use. */
export function compile(
  fn: TensorFunction,
  specs: readonly TensorSpec[],
  constants: Constants,
  options: CompileOptions = {},
): Program {
  const { inputs, outputs } = trace(fn, specs);
  return Object.assign(graphBackend().target.load(outputs, inputs, constants, options), {
    flops: productFlops(outputs),
  });
}
