/**
 * REG (arXiv 2507.01467): the encoder's class token is generated with the image, as one more token of the network.
 * Checked against the published code: outputs, losses and gradients (fixture published/reg).
 */

import { normals } from '../diffusion/draws.js';
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { affineNorm } from '../models/dit-sizes.js';
import { linearPlan, normPlan } from '../models/start.js';
import { dense, norm, rmsNormed } from '../nn/layers.js';
import { PURPOSE } from '../numbers/random.js';
import { number } from '../options/option.js';
import { options } from '../options/table.js';
import { meanSquare, method, term } from './method.js';

const SETTINGS = fields({
  weight: numeric,
  /** Width Z of the class token. */
  dim: count,
});

const EPSILON = 1e-6;

export const reg = method({
  name: 'reg',
  options: options({
    classToken: number(
      '--class-token <w>',
      "weight of generating the encoder's class token with the image; feats need their --cls (REG: 0.03)",
      { min: 0, default: 0, onlyFor: 'SiT' },
    ),
  }),
  presets: { reg: { lambda: 0.5, 'class-token': 0.03 } },
  settings: SETTINGS,
  features: 'generated',
  isOn: ({ classToken }) => classToken > 0,
  settle({ classToken }, { features }): ShapeOf<typeof SETTINGS> {
    if (features.length > 1) {
      throw new UsageError('--class-token takes the class token of one encoder, but --feats names several');
    }
    return { weight: classToken, dim: features[0].dim };
  },
  recognise(shapes) {
    const dim = shapes.get('cls_projectors2.weight')?.shape[1];
    return dim === undefined ? undefined : { weight: 0.03, dim };
  },
  besides: () => ({ classToken: true }),
  parameters: ({ dim }, { model: { hiddenSize, ...model } }) => [
    ...linearPlan('cls_projectors2', hiddenSize, dim, 'xavier'),
    ...normPlan('wg_norm', hiddenSize, affineNorm(model)),
    ...linearPlan('final_layer.linear_cls', dim, hiddenSize, 'zeros'),
  ],
  companion: {
    size: ({ dim }) => dim,
    tokens: 1,
    enter(p, model, noisy) {
      const normed = affineNorm(model) === 'rms' ? rmsNormed : norm;
      const token = normed(p, 'wg_norm', dense(p, 'cls_projectors2', noisy), EPSILON); // [B, D]
      return tf.expandDims(token, 1); // [B, 1, D]
    },
    leave: (p, tokens) => dense(p, 'final_layer.linear_cls', tf.squeeze(tokens, [1])), // [B, Z]
    clean: ({ dim }) => ({ shape: [dim], dtype: 'float32', values: ({ classTokens }) => classTokens! }),
    noise: ({ dim }) => normals([dim], PURPOSE.classNoise),
  },
  outputTerms: ({ weight }, { companion }) => [
    term('class_token', weight, () => meanSquare(companion!.predicted, companion!.wanted)),
  ],
});
