/**
 * SRA 2 (arXiv 2601.17830): the tokens of an early block, through a perceptron, follow the clean latents themselves,
 * which an autoencoder's encoder made.
 *
 *     L = L_velocity + lambda E[smooth_L1(h_phi(h) - z)],    beta = 0.05, lambda = 1    (section 3.2)
 *
 * Written from the paper's equations and not checked against its code, which is not public. The mean is over the
 * latents' numbers, as in SRA's code by the same authors. The paper says that the perceptron has five layers and, for
 * XL, 18M parameters: at twice the network's width, as SRA's head, they are 18.6M.
 */
import type { tf } from '../engine/index.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import type { Parameters } from '../models/parameters.js';
import { linearPlan } from '../models/start.js';
import { dense, unpatchify } from '../nn/layers.js';
import { integer, number } from '../options/option.js';
import { options } from '../options/table.js';
import { blockAt, knownBlock, ofPatches } from './blocks.js';
import { method, term } from './method.js';
import { smoothDistance } from './sra.js';

const LAYERS = 5;

const layerName = (index: number): string => `latent_head.${2 * index}`; // an activation between two has a number too

/** The perceptron: `tokens` [B, T, D] to the values of their patches, [B, T, patch * patch * C]. */
function head(p: Parameters, tokens: tf.Tensor): tf.Tensor {
  let x = dense(p, layerName(0), tokens); // [B, T, 2D]
  for (let i = 1; i < LAYERS; i++) x = dense(p, layerName(i), x, 'silu');
  return x;
}

const SETTINGS = fields({
  weight: numeric,
  block: count,
  /** Channels of the latents, without those that other methods add. */
  channels: count,
});

/** Block 2 of B, 8 of L and XL (section 4.1). */
const ALIGNED = 2 / 12;
const ALIGNED_OF_LARGE = 8;
const LARGE_DEPTH = 24;

export const sra2 = method({
  name: 'sra-2',
  options: options({
    latentAlignment: number(
      '--latent-alignment <w>',
      'weight of an early block following the clean latents themselves (SRA 2: 1)',
      { min: 0, default: 0 },
    ),
    latentAlignmentBlock: integer('--latent-alignment-block <n>', 'which block', {
      min: 1,
      defaultText: '2 of 12, 8 of 24 and more',
      needs: 'latentAlignment',
    }),
  }),
  presets: { 'sra-2': { lambda: 0, 'latent-alignment': 1 } },
  settings: SETTINGS,
  isOn: ({ latentAlignment }) => latentAlignment > 0,
  settle({ latentAlignment, latentAlignmentBlock }, { model }): ShapeOf<typeof SETTINGS> {
    const { depth, inChannels } = model;
    const usual = depth < LARGE_DEPTH ? blockAt(ALIGNED, depth) : ALIGNED_OF_LARGE;
    const block = knownBlock('--latent-alignment-block', latentAlignmentBlock ?? usual, depth);
    return { weight: latentAlignment, block, channels: inChannels };
  },
  recognise(shapes): ShapeOf<typeof SETTINGS> | undefined {
    const values = shapes.get(`${layerName(LAYERS - 1)}.weight`)?.shape[0];
    const embedding = [...shapes].find(([name]) => /_embedder\.proj1?\.weight$/.test(name))?.[1].shape;
    if (values === undefined || !embedding) return undefined;
    return { weight: 1, block: 1, channels: values / embedding[2] ** 2 };
  },
  parameters: ({ channels }, { model: { hiddenSize, patchSize } }) =>
    Array.from({ length: LAYERS }, (_, i) => {
      const outputs = i === LAYERS - 1 ? channels * patchSize ** 2 : 2 * hiddenSize;
      return linearPlan(layerName(i), outputs, i === 0 ? hiddenSize : 2 * hiddenSize, 'xavier');
    }).flat(),
  whole: ({ block }) => ({ option: '--latent-alignment', blocks: [block] }),
  terms({ weight, block, channels }, { p, hidden, clean, model }) {
    const value = (): tf.Tensor => {
      const values = head(p, ofPatches(hidden(block), model)); // [B, T, patch * patch * C]
      return smoothDistance(unpatchify(values, model.patchSize, channels), clean);
    };
    return [term('latent_alignment', weight, value)];
  },
});
