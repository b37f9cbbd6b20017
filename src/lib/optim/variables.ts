/** Parameters as a model reads them: a variable for each, by name. */
import * as tf from '../engine/tfjs.js';
import type { StoredParameter } from './layout.js';

export type Variables = Readonly<Record<string, tf.Variable>>;

/** The array of a parameter that a variable shows. */
export type Quantity = (parameter: StoredParameter) => Float32Array<ArrayBuffer>;

export const value: Quantity = (parameter) => parameter.value;
export const firstAverage: Quantity = (parameter) => parameter.averages[0];

const tensor = (parameter: StoredParameter, quantity: Quantity): tf.Tensor =>
  tf.tensor(quantity(parameter), [...parameter.shape], 'float32');

export function variables(parameters: readonly StoredParameter[], quantity: Quantity): Variables {
  return Object.fromEntries(
    parameters.map((parameter) => {
      const initial = tensor(parameter, quantity);
      const variable = tf.variable(initial, quantity === value && parameter.learning !== 'frozen');
      initial.dispose();
      return [parameter.name, variable];
    }),
  );
}

export function assign(target: Variables, parameters: readonly StoredParameter[], quantity: Quantity): void {
  for (const parameter of parameters) {
    const current = tensor(parameter, quantity);
    target[parameter.name].assign(current);
    current.dispose();
  }
}
