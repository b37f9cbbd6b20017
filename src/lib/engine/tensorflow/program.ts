/** Programs on a backend that computes at once: the function itself is called at each run. */
import type { TypedArray } from '../../numbers/typed-array.js';
import type { Program, TensorFunction, TensorSpec } from '../engine.js';
import * as tf from '../tfjs.js';

export function eagerProgram(fn: TensorFunction, specs: readonly TensorSpec[]): Program {
  const call = (data: readonly TypedArray[]): TypedArray[] => {
    let results: TypedArray[] = [];
    tf.tidy(() => {
      const inputs = specs.map(({ shape, dtype }, index) =>
        tf.tensor(data[index] as Float32Array, [...shape], dtype === 'int32' ? dtype : 'float32'),
      );
      results = fn(...inputs).map((output) => output.dataSync());
    });
    return results;
  };
  return {
    run: (data, into = []) =>
      call(data).map((result, index) => {
        const target = into[index] as Float32Array | null | undefined;
        if (!target) return result.slice(); // a tensor that nothing was computed of gives the array that it was made of
        target.set(result as Float32Array);
        return target;
      }),
    dispose() {},
  };
}
