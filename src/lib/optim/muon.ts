/**
 * Muon: momentum whose update is made orthogonal, matrix by matrix (K. Jordan, 2024), at the size and with the decay
 * that let it share AdamW's learning rate (arXiv 2502.16982, section 2.2).
 */
import { type Captured, capture } from '../engine/capture.js';
import * as tf from '../engine/tfjs.js';
import type { ParameterGroup, StoredParameter } from './layout.js';
import { alignedLength } from './memory.js';

export interface MuonOptions {
  lr: number;
  /** Decoupled, as AdamW's. */
  weightDecay: number;
}

/** The decay of the momentum, and Nesterov's factor for looking ahead along it. */
export const MOMENTUM = 0.95;
const NEWTON_SCHULZ_STEPS = 5;
/** Coefficients of the quintic whose iteration brings singular values near 1 fastest: to between about 0.7 and 1.2. */
const [A, B, C] = [3.4445, -4.775, 2.0315];
/** Root mean square of AdamW's updates, which an orthogonal update is scaled to. */
const UPDATE_RMS = 0.2;

/** The nearest orthogonal matrix to `x` [m, n], approximately: U V^T of its singular value decomposition U S V^T. */
export function orthogonalise(x: tf.Tensor2D): tf.Tensor2D {
  const wide = x.shape[0] <= x.shape[1];
  const norm = tf.sqrt(tf.sum(tf.square(x)));
  let y = tf.div(x, tf.add(norm, 1e-7)) as tf.Tensor2D;
  for (let step = 0; step < NEWTON_SCHULZ_STEPS; step++) {
    const gram = wide ? tf.matMul(y, y, false, true) : tf.matMul(y, y, true, false); // the smaller of both
    const polynomial = tf.add(tf.mul(gram, B), tf.mul(tf.matMul(gram, gram), C)) as tf.Tensor2D;
    const turned = wide ? tf.matMul(polynomial, y) : tf.matMul(y, polynomial);
    y = tf.add(tf.mul(y, A), turned) as tf.Tensor2D;
  }
  return y;
}

/** The factor that scales an update. */
const updateScale = (shape: readonly number[]): number => UPDATE_RMS * Math.sqrt(Math.max(...shape));

/** The update of a matrix [m, n] of which `x` is the momentum, in units of the learning rate. */
export const muonUpdate = (x: tf.Tensor2D): tf.Tensor => tf.mul(orthogonalise(x), updateScale(x.shape));

/** Steps matrices, with programs that are compiled once for each shape. */
export class Muon {
  readonly #programs = new Map<string, Captured>();

  /** Updates all parameters of a group and their momentum, with gradients multiplied by `gradientScale`. */
  step({ memory, parameters }: ParameterGroup, { lr, weightDecay }: MuonOptions, gradientScale: number): void {
    memory.blend('firstMoment', 'gradient', MOMENTUM, gradientScale);
    memory.blend('gradient', 'firstMoment', gradientScale, MOMENTUM); // Nesterov's look ahead
    for (const parameter of parameters) {
      const { value, gradient, shape } = parameter as StoredParameter & { gradient: Float32Array<ArrayBuffer> };
      const [update] = this.#orthogonalised(shape).run(gradient);
      gradient.set(update as Float32Array);
      const length = alignedLength(value.length);
      memory.arithmetic.blend(
        value.byteOffset,
        gradient.byteOffset,
        length,
        1 - lr * weightDecay,
        -lr * updateScale(shape),
      );
    }
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose();
  }

  #orthogonalised(shape: readonly number[]): Captured {
    const key = shape.join('x');
    const known = this.#programs.get(key);
    if (known) return known;
    const program = capture((x) => [orthogonalise(x as tf.Tensor2D)], [{ shape, dtype: 'float32' }]);
    this.#programs.set(key, program);
    return program;
  }
}
