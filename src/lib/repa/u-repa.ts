/**
 * U-REPA's manifold term (arXiv 2503.18414): the relations among an image's tokens are to be those among its features.
 * From the paper's equation; not checked against code.
 */
import { tf } from '../engine/index.js';
import { fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { number } from '../options/option.js';
import { options } from '../options/table.js';
import { normalised } from './cosine.js';
import { method, term } from './method.js';

/** The cosine similarity of every pair of an image's tokens: `x` [B, T, D] to [B, T, T]. */
function similarities(x: tf.Tensor): tf.Tensor {
  const rows = normalised(x); // [B, T, D]
  return tf.matMul(rows, rows, false, true); // [B, T, T]
}

/**
 * The mean of (cos(y_i, y_j) - cos(h_i, h_j))^2 over images and pairs of tokens: scalar.
 *
 * @param projected tokens through the projector, h [B, T, D].
 * @param target features, y [B, T, D]; no gradient flows into them.
 */
export const manifoldLoss = (projected: tf.Tensor, target: tf.Tensor): tf.Tensor =>
  tf.mean(tf.squaredDifference(similarities(target), similarities(projected)));

const SETTINGS = fields({ weight: numeric });

export const uRepa = method({
  name: 'u-repa',
  options: options({
    manifold: number('--manifold <w>', 'weight, times lambda, of the similarities among tokens (U-REPA: 3)', {
      min: 0,
      default: 0,
      needs: '--lambda',
    }),
  }),
  presets: { 'u-repa': { lambda: 0.5, manifold: 3 } },
  settings: SETTINGS,
  isOn: ({ manifold }) => manifold > 0,
  settle: ({ manifold }): ShapeOf<typeof SETTINGS> => ({ weight: manifold }),
  variant: ({ weight }) => ({
    term(projected, targets, lambda) {
      const losses = () => targets.map((target, i) => manifoldLoss(projected[i], target));
      return term('manifold', lambda * weight, () => tf.div(tf.addN(losses()), targets.length));
    },
  }),
});
