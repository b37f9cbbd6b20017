/**
 * Internal Guidance (arXiv 2512.24176): an early block has an output head of its own, trained on the same target.
 * Sampling then moves away from what that head predicts, as from a weaker network, which costs no second pass. Checked
 * against the published code: outputs, loss and gradients (fixtures published/internal-guidance and rae-2).
 */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { outputHead, outputHeadPlan } from '../models/output-head.js';
import type { Parameters } from '../models/parameters.js';
import { silu } from '../nn/functional.js';
import { integer, number } from '../options/option.js';
import { options } from '../options/table.js';
import { blockAt, ofPatches } from './blocks.js';
import { meanSquare, method, type Pass, term } from './method.js';

/** The name of the head in the published checkpoints. */
const HEAD = 'final_layer_xr';

/** The paper's block is 8 of 28. */
const BLOCK = 8 / 28;

const SETTINGS = fields({ weight: numeric, block: count });

/**
 * What the early head predicts from a block's tokens [B, P + T, D], without those before the patches: [B, C, h, w].
 * Where no block is modulated, each token modulates itself, with the time (RAEv2, arXiv 2605.18324; from its published
 * code).
 */
function earlyPrediction(p: Parameters, model: TransformerConfig, tokens: tf.Tensor, condition: tf.Tensor): tf.Tensor {
  const own = ofPatches(tokens, model); // [B, T, D]
  if (!model.conditionTokens) return outputHead(p, HEAD, model, own, condition);
  const timed = silu(tf.add(tf.expandDims(condition, 1), own)); // [B, T, D]
  return outputHead(p, HEAD, model, timed, silu(timed));
}

/** The target of every channel, those that methods add with them: [B, C + K, h, w]. */
const targetOf = ({ latents, channels }: Pass): tf.Tensor =>
  channels ? tf.concat([latents.wanted, channels.wanted], 1) : latents.wanted;

export const internalGuidance = method({
  name: 'internal-guidance',
  options: options({
    internal: number(
      '--internal <w>',
      'weight of predicting the velocity from an early block too, which sample --internal-cfg guides by (IG: 0.5)',
      { min: 0, default: 0, onlyFor: 'SiT' },
    ),
    internalBlock: integer('--internal-block <n>', 'the block', {
      min: 1,
      needs: 'internal',
      defaultText: 'at 8/28 of the depth',
    }),
  }),
  presets: { 'internal-guidance': { lambda: 0, internal: 0.5 } },
  settings: SETTINGS,
  isOn: ({ internal }) => internal > 0,
  settle({ internal, internalBlock }, { model: { depth } }): ShapeOf<typeof SETTINGS> {
    const block = internalBlock ?? blockAt(BLOCK, depth);
    if (block >= depth) {
      throw new UsageError(`--internal-block ${block}: an early block of ${depth} is weaker than the last one`);
    }
    return { weight: internal, block };
  },
  recognise: (shapes, { depth }) =>
    shapes.has(`${HEAD}.linear.weight`) ? { weight: 0.5, block: blockAt(BLOCK, depth) } : undefined,
  parameters: (_, { model }) => outputHeadPlan(HEAD, model),
  whole: ({ block }) => ({ option: '--internal', blocks: [block] }),
  weaker: ({ block }, p, { model, hidden, condition }) => earlyPrediction(p, model, hidden(block), condition),
  outputTerms({ weight, block }, pass) {
    const { p, model, hidden, condition, velocityOf } = pass;
    const predicted = () => velocityOf(earlyPrediction(p, model, hidden(block), condition)); // [B, C + K, h, w]
    return [term('internal', weight, () => meanSquare(predicted(), targetOf(pass)))];
  },
});
