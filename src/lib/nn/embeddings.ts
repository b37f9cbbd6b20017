/** Fixed (not learned) embeddings of diffusion transformers: of time and of the patch grid. */
import { tf } from '../engine/index.js';

const MAX_PERIOD = 10_000;

/**
 * f_i = 10000^(-i / count). The exponents are rounded to single precision as PyTorch's are: networks were trained with
 * those frequencies, and t = 999 makes a difference of 6e-5 of an exact one.
 */
function frequencies(count: number): Float32Array {
  const logarithm = Math.fround(-Math.log(MAX_PERIOD));
  return Float32Array.from({ length: count }, (_, i) => Math.exp(Math.fround(Math.fround(logarithm * i) / count)));
}

/**
 * Sinusoidal embedding of times `t` [B], cosines first: [cos(t f_0) ... cos(t f_k), sin(t f_0) ... sin(t f_k)] with
 * f_i = 10000^(-i / k), k = dim / 2. `t` enters unscaled. Returns [B, dim].
 */
export function timestepEmbedding(t: tf.Tensor, dim: number): tf.Tensor {
  const half = dim / 2;
  const angles = tf.mul(tf.reshape(t, [-1, 1]), tf.tensor(frequencies(half), [1, half])); // [B, dim / 2]
  return tf.concat([tf.cos(angles), tf.sin(angles)], 1); // [B, dim]
}

/**
 * Random Fourier features (arXiv 2006.10739) of times `t` [B] at `frequencies` [F], sines first:
 * [sin(2 pi t f_0), ..., cos(2 pi t f_0), ...]. Returns [B, 2 F].
 */
export function fourierFeatures(t: tf.Tensor, frequencies: tf.Tensor): tf.Tensor {
  const angles = tf.mul(tf.mul(tf.reshape(t, [-1, 1]), tf.reshape(frequencies, [1, -1])), 2 * Math.PI); // [B, F]
  return tf.concat([tf.sin(angles), tf.cos(angles)], 1); // [B, 2 F]
}

/** Writes [sin(p w_0) ..., cos(p w_0) ...] of one coordinate `p` into `out` at `offset`; w_i = 10000^(-i / quarter). */
function writeSinCos(out: Float32Array, offset: number, quarter: number, position: number): void {
  for (let i = 0; i < quarter; i++) {
    const angle = position / MAX_PERIOD ** (i / quarter);
    out[offset + i] = Math.sin(angle);
    out[offset + quarter + i] = Math.cos(angle);
  }
}

/**
 * The 2-D sine-cosine positions of a `side` x `side` grid of patches, [side * side, dim] row by row, computed in double
 * precision: the first half of a vector encodes the column, the second half the row. `dim` is a multiple of 4.
 */
export function sinCosPositions(side: number, dim: number): Float32Array<ArrayBuffer> {
  const quarter = dim / 4;
  const out = new Float32Array(side * side * dim);
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const offset = (row * side + column) * dim;
      writeSinCos(out, offset, quarter, column);
      writeSinCos(out, offset + 2 * quarter, quarter, row);
    }
  }
  return out;
}
