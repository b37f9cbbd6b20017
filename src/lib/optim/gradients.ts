/** A loss compiled with its gradients. */
import { type Captured, checkInputs } from '../engine/capture.js';
import type { TensorFunction, TensorSpec } from '../engine/engine.js';
import { activeEngine } from '../engine/select.js';
import * as tf from '../engine/tfjs.js';
import type { ParameterStore } from './store.js';

/**
 * Makes a loss into a function that also leaves its gradients in the store.
 *
 * `lossFn` reads `store.tensors`; its first result is the scalar to differentiate, the others are handed through. Each
 * run returns these results, and overwrites the gradients of all learned parameters: zeros for those that the loss
 * does not depend on.
 * @param options with `divided`, each of several devices computes on its share of the rows: `inputs` are the
 *   specifications for one device, a run takes the rows of all, and the results are summed over the devices
 */
export function captureGradients(
  store: ParameterStore,
  lossFn: TensorFunction,
  inputs: readonly TensorSpec[],
  { divided = false } = {},
): Captured {
  const learned = store.parameters.filter(({ learning }) => learning !== 'frozen');
  const variables = learned.map(({ name }) => store.tensors[name]);
  const program = activeEngine().compile(
    (...tensors) => {
      const { results, gradients } = differentiate(() => lossFn(...tensors), variables);
      return [...gradients, ...results];
    },
    inputs,
    'feed',
    { devices: divided ? 'divided' : 'all' },
  );
  const into = learned.map(({ gradient }) => gradient);
  const shares = divided ? (activeEngine().devices?.length ?? 1) : 1;
  const whole = inputs.map(({ shape, dtype }) => {
    return { dtype, shape: shares === 1 ? shape : shape.with(0, shape[0] * shares) };
  });
  return {
    run(...data) {
      checkInputs(whole, data);
      return program.run(data, into).slice(into.length);
    },
    async runAsync(...data) {
      checkInputs(whole, data);
      return (await (program.runAsync?.(data, into) ?? program.run(data, into))).slice(into.length);
    },
    stage: (...data) => program.stage?.(data),
    flops: program.flops && shares * program.flops,
    dispose: () => program.dispose(),
  };
}

/** The results of `fn`, and the gradients of the first of them. */
function differentiate(fn: () => tf.Tensor[], variables: tf.Variable[]) {
  let others: tf.Tensor[] = [];
  const { value, grads } = tf.variableGrads(() => {
    const [loss, ...rest] = fn();
    // The scope of variableGrads would end them; the caller's scope, to which the copies belong, does instead.
    others = rest.map((tensor) => tf.keep(tensor));
    return loss as tf.Scalar;
  }, variables);
  const results = [value, ...others.map((tensor) => tf.clone(tensor))];
  tf.dispose(others);
  const gradients = variables.map((variable) => grads[variable.name] ?? tf.zerosLike(variable));
  return { results, gradients };
}
