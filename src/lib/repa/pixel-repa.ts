/**
 * PixelREPA (arXiv 2603.14366): features hold less than pixels, so that aligning the tokens of a network of pixels
 * costs it what features leave out. In place of a perceptron, two blocks with part of the tokens masked turn them into
 * features. Checked against the published code: losses and gradients (fixture published/pixel-repa).
 */
import type { Draw } from '../diffusion/draws.js';
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { contextPlan, contextTokens, gridAngles, splitFirst, withContext } from '../models/dit-designs.js';
import { block, blockName, blockPlan, condition, conditionPlan } from '../models/dit-parts.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters } from '../models/parameters.js';
import { linearPlan, normPlan, type PlannedParameter } from '../models/start.js';
import { dense, norm, parameter } from '../nn/layers.js';
import { fillUniform, PURPOSE } from '../numbers/random.js';
import { number } from '../options/option.js';
import { options } from '../options/table.js';
import { cosineSimilarity } from './cosine.js';
import { method, term } from './method.js';

/** The adapter's name in the published checkpoints. */
const ADAPTER = 'masked_transformer_adapter';

const ADAPTER_BLOCKS = 2;

/** Epsilon of the norm in the map to features: PyTorch's default. */
const EPSILON = 1e-5;

const SETTINGS = fields({
  weight: numeric,
  /** Chance that a token is masked. */
  masked: numeric,
  /** Tokens of the class that stand before the patches in the adapter. */
  tokens: count,
  block: count,
  /** Width of the features. */
  dim: count,
});

type Settings = ShapeOf<typeof SETTINGS>;

/** The sizes of the adapter, as of a network of its own. */
const adapterConfig = ({ context: _, head: __, ...model }: TransformerConfig): TransformerConfig => ({
  ...model,
  depth: ADAPTER_BLOCKS,
});

/** The map from hidden states to features, where their widths differ. */
const mapPlan = (hiddenSize: number, dim: number): PlannedParameter[] => [
  ...linearPlan('projection_layer.mlp.0', hiddenSize, hiddenSize, 'xavier'),
  ...normPlan('projection_layer.mlp.1', hiddenSize, 'layer'),
  ...linearPlan('projection_layer.mlp.3', dim, hiddenSize, 'xavier'),
];

function adapterPlan({ tokens, dim }: Settings, model: TransformerConfig): PlannedParameter[] {
  const config = adapterConfig(model);
  const own = [
    contextPlan(tokens, config.hiddenSize),
    ...conditionPlan(config),
    ...Array.from({ length: ADAPTER_BLOCKS }, (_, i) => blockPlan(i + 1, config)).flat(),
    ...(dim === config.hiddenSize ? [] : mapPlan(config.hiddenSize, dim)),
  ];
  return own.map(([name, plan]) => [`${ADAPTER}.${name}`, plan]);
}

/** The parameters of the adapter, under their names within it. */
const within = (p: Parameters): Parameters =>
  Object.fromEntries(
    Object.entries(p).flatMap(([name, value]) =>
      name.startsWith(`${ADAPTER}.`) ? [[name.slice(ADAPTER.length + 1), value]] : [],
    ),
  );

/** The features [B, T, dim] that the adapter predicts from tokens `x` [B, T, D] at times `t` [B] of classes `y` [B]. */
function throughAdapter(
  p: Parameters,
  { tokens: count, dim }: Settings,
  model: TransformerConfig,
  x: tf.Tensor,
  t: tf.Tensor,
  y: tf.Tensor,
): tf.Tensor {
  const config = adapterConfig(model);
  const { label, modulating } = condition(p, config, t, y);
  const angled = { tokens: x, angles: config.rotary ? gridAngles(config) : undefined };
  const { tokens, angles } = withContext(config, angled, contextTokens(p, label));
  let state = tokens; // [B, K + T, D]
  for (let number = 1; number <= ADAPTER_BLOCKS; number++) {
    state = block(p, blockName(number), config, state, modulating, { rotary: angles }); // [B, K + T, D]
  }
  const [, own] = splitFirst(state, count); // [B, T, D]
  if (dim === config.hiddenSize) return own;
  const first = norm(p, 'projection_layer.mlp.1', dense(p, 'projection_layer.mlp.0', own), EPSILON); // [B, T, D]
  return dense(p, 'projection_layer.mlp.3', first, 'silu'); // [B, T, dim]
}

/** Draws for each token whether it is kept (1) or masked (0): [B, T]. */
const keptDraw = (tokens: number, masked: number): Draw => ({
  shape: [tokens],
  dtype: 'float32',
  values({ rows, seed, step, position }) {
    const kept = new Float32Array(rows * tokens);
    for (let row = 0; row < rows; row++) {
      fillUniform(kept.subarray(row * tokens, (row + 1) * tokens), seed, PURPOSE.maskedTokens, position + row, step);
    }
    return kept.map((chance) => (chance > masked ? 1 : 0));
  },
});

export const pixelRepa = method({
  name: 'pixel-repa',
  options: options({
    pixelRepa: number('--pixel-repa <w>', 'weight of features through masked blocks, for pixels (PixelREPA: 0.1)', {
      min: 0,
      default: 0,
      onlyFor: 'SiT',
    }),
    maskedTokens: number('--masked-tokens <share>', 'chance that a token is masked for them', {
      min: 0,
      below: 1,
      default: 0.2,
      needs: 'pixelRepa',
    }),
  }),
  settings: SETTINGS,
  features: 'followed',
  isOn: ({ pixelRepa }) => pixelRepa > 0,
  settle({ pixelRepa, maskedTokens }, { model: { context }, features }): Settings {
    if (!context || context.block < 2) {
      throw new UsageError(
        '--pixel-repa takes the tokens before those of the class come in: it is for networks with --context-tokens, from a later block on',
        'Add --preset jit or --preset pixel-repa.',
      );
    }
    if (features.length > 1) throw new UsageError('--pixel-repa follows one encoder, but --feats names several');
    const { tokens, block } = context;
    return { weight: pixelRepa, masked: maskedTokens, tokens, block: block - 1, dim: features[0].dim };
  },
  checkFeatures({ dim }, [{ dim: given }], option) {
    if (given === dim) return;
    throw new UsageError(`${option} are of width ${given}, those of the run ${dim}`);
  },
  parameters: (settings, { model }) => [
    ['mask_token', { shape: [1, 1, model.hiddenSize], start: 'normal' }],
    ...adapterPlan(settings, model),
  ],
  draws: ({ masked }, { tokens, training }) => ({ ...(training && { kept: keptDraw(tokens, masked) }) }),
  terms(settings, { p, hidden, model, times, labels, features, draws: { kept } }) {
    const value = (): tf.Tensor => {
      const tokens = hidden(settings.block); // [B, T, D]
      const t = model.reversedTime ? tf.sub(1, times) : times; // [B]
      const mask = kept && tf.broadcastTo(tf.equal(tf.expandDims(kept, 2), 1), tokens.shape); // [B, T, D]
      const shown = mask ? tf.where(mask, tokens, tf.broadcastTo(parameter(p, 'mask_token'), tokens.shape)) : tokens;
      const made = throughAdapter(within(p), settings, model, shown, t, labels); // [B, T, dim]
      return tf.sub(1, tf.mean(cosineSimilarity(made, features[0])));
    };
    return [term('adapter', settings.weight, value)];
  },
});
