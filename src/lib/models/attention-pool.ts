/**
 * The pool by attention that SigLIP has after its vision transformer: one learned query over all tokens, then a
 * perceptron. Parameters carry timm's names. Checked against timm (fixture fdr6).
 */
import { tf } from '../engine/index.js';
import { attention } from '../nn/functional.js';
import { dense, mlp, norm, type Parameters, parameter } from '../nn/layers.js';
import { linearShapes, normShapes, type Shapes, type Weights } from './parameters.js';
import { renamed, reshaped, rowsOf } from './rename.js';
import type { ViTConfig } from './vit.js';

const POOL = 'attn_pool';

/** Whether weights hold an attention pool. */
export const hasAttentionPool = (shapes: Shapes): boolean => shapes.has(`${POOL}.latent`);

/** @param inner width of the perceptron's hidden layer */
export const attentionPoolShapes = (width: number, inner: number): Shapes =>
  new Map([
    [`${POOL}.latent`, { shape: [1, 1, width] }],
    ...linearShapes(`${POOL}.q`, width, width),
    ...linearShapes(`${POOL}.kv`, 2 * width, width),
    ...linearShapes(`${POOL}.proj`, width, width),
    ...normShapes(`${POOL}.norm`, width),
    ...linearShapes(`${POOL}.mlp.fc1`, inner, width),
    ...linearShapes(`${POOL}.mlp.fc2`, width, inner),
  ]);

/** Pools `tokens` [B, T, D], as the final norm leaves them, into [B, D]. */
export function attentionPool(
  p: Parameters,
  { heads, activation, epsilon }: Pick<ViTConfig, 'heads' | 'activation' | 'epsilon'>,
  tokens: tf.Tensor,
): tf.Tensor {
  const [batch, , dim] = tokens.shape;
  const perHead = (part: tf.Tensor): tf.Tensor => tf.reshape(part, [batch, -1, heads, dim! / heads]);
  const query = dense(p, `${POOL}.q`, tf.tile(parameter(p, `${POOL}.latent`), [batch, 1, 1])); // [B, 1, D]
  const [k, v] = tf.split(dense(p, `${POOL}.kv`, tokens), 2, -1).map(perHead); // [B, T, H, d]
  const seen = tf.reshape(attention(perHead(query), k, v), [batch, 1, dim!]);
  const pooled = dense(p, `${POOL}.proj`, seen); // [B, 1, D]
  const more = mlp(p, `${POOL}.mlp`, norm(p, `${POOL}.norm`, pooled, epsilon), activation);
  return tf.squeeze(tf.add(pooled, more), [1]);
}

/** Gives the pool timm's names where it has Hugging Face's, whose query, key and value are one projection. */
export function toPoolNames(weights: Weights): Weights {
  const probe = weights.get('head.probe');
  if (!probe) return weights;
  const own = renamed(weights, [
    [/^head\.layernorm\./, `${POOL}.norm.`],
    [/^head\.mlp\./, `${POOL}.mlp.`],
    [/^head\.attention\.out_proj\./, `${POOL}.proj.`],
  ]);
  own.set(`${POOL}.latent`, reshaped(probe, [1, 1, probe.shape.at(-1)!]));
  for (const kind of ['weight', 'bias']) {
    const all = weights.get(`head.attention.in_proj_${kind}`);
    if (!all) continue;
    const width = all.shape[0] / 3;
    own.set(`${POOL}.q.${kind}`, rowsOf(all, 0, width));
    own.set(`${POOL}.kv.${kind}`, rowsOf(all, width, 3 * width));
  }
  return own;
}
