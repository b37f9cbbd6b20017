/** Traces a function into one graph, once, to run it many times. */
import type { Program, TensorFunction, TensorSpec } from '../engine.js';
import * as tf from '../tfjs.js';
import { onnxBackend } from './backend.js';
import { nextValueId, Value } from './graph.js';
import { encodeInPlace } from './in-place.js';
import { lower, sortOperations } from './lower.js';
import type { ExternalData } from './model.js';
import { collectGarbage, returnLargeBlocks } from './reclaim.js';
import { Session } from './runtime.js';

export function compile(fn: TensorFunction, specs: readonly TensorSpec[], constants: 'feed' | 'bake'): Program {
  const inputs = specs.map(({ dtype, shape }) => new Value(dtype, shape, { kind: 'input' }));
  const { session, feeds, bakedBytes } = load(trace(fn, inputs), constants);
  // Once the caller has let go of what was baked: not yet here.
  let isGarbageLeft = bakedBytes > WORTH_COLLECTING;
  const positions = feeds.map((feed) => inputs.indexOf(feed));
  return {
    run(data, into) {
      if (isGarbageLeft) collectGarbage();
      isGarbageLeft = false;
      return session.run(
        feeds.map((feed, index) => feed.data ?? data[positions[index]]),
        into,
      );
    },
    dispose: () => session.dispose(),
  };
}

/** Bytes of weights from which on their garbage is worth the 10 ms. */
const WORTH_COLLECTING = 16 * 2 ** 20;

/** A session that computes `outputs` of `feeds`. What is baked into it can be forgotten: nothing here refers to it. */
function load(outputs: readonly Value[], constants: 'feed' | 'bake') {
  const baked = constants === 'bake' ? bakedValues(outputs) : new Set<Value>();
  const { graph, feeds } = lower(outputs, (leaf) => baked.has(leaf));
  // Weights that are part of a model's message are in memory four times while it loads.
  const externalData: ExternalData[] = [];
  const model = encodeInPlace(graph, externalData);
  const bakedBytes = externalData.reduce((sum, { data }) => sum + data.length, 0);
  if (bakedBytes > WORTH_COLLECTING) returnLargeBlocks();
  const session = new Session(model, graph, { threads: onnxBackend().threads, reused: true, externalData });
  return { session, feeds, bakedBytes };
}

/**
 * The weights of convolutions: ONNX Runtime lays these out anew for the processor if it knows them ahead (a tenth
 * faster). Those of matrix products gain nothing, and would be in memory three times.
 */
function bakedValues(outputs: readonly Value[]): Set<Value> {
  const baked = new Set<Value>();
  for (const { type, inputs } of sortOperations(outputs).operations) {
    if (type !== 'Conv') continue;
    for (const value of inputs.slice(1)) if (value?.kind === 'data') baked.add(value);
  }
  return baked;
}

function trace(fn: TensorFunction, inputs: readonly Value[]): Value[] {
  const backend = onnxBackend();
  const firstId = nextValueId();
  backend.tracing = true;
  let outputs: Value[] = [];
  try {
    tf.tidy(() => {
      const placeholders = inputs.map((input) => tf.engine().makeTensorFromTensorInfo(backend.tensorFor(input)));
      outputs = fn(...placeholders).map((tensor) => backend.valueFor(tensor));
    });
  } finally {
    backend.tracing = false;
  }
  computeOlder(outputs, firstId);
  return outputs;
}

/** Pending values that were there before the trace are computed now, once, instead of at each run. */
function computeOlder(outputs: readonly Value[], firstId: number): void {
  const traced = sortOperations(outputs).operations.filter((operation) => operation.outputs[0].id >= firstId);
  const read = [...outputs, ...traced.flatMap(({ inputs }) => inputs)];
  onnxBackend().flush(read.filter((value): value is Value => value !== null && value.id < firstId));
}
