/** The network that is trained: a small vision transformer of DINOv2's layout, and heads that only training needs. */
import { linear, type tf } from '../../src/lib/engine/index.js';
import { type ViTConfig, vitShapes } from '../../src/lib/models/vit.js';
import { sinCosPositions } from '../../src/lib/nn/embeddings.js';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import type { ParameterSpec } from '../../src/lib/optim/index.js';
import { GRID, PATCH, PATCH_SIZE } from './views.js';

export const CONFIG: ViTConfig = {
  width: 128,
  depth: 4,
  heads: 2,
  patchSize: PATCH,
  grid: { height: GRID, width: GRID },
  classToken: true,
  classPosition: true,
  registers: 0,
  feedForward: 'mlp',
  inner: 512,
  qkvBias: true,
  layerScale: true,
  finalNorm: true,
  patchBias: true,
  preNorm: false,
  activation: 'erf',
  epsilon: 1e-6,
};

/** How many classes each head tells apart. */
export interface Vocabulary {
  subcategories: readonly string[];
  categories: readonly string[];
  words: readonly string[];
}

const headShapes = ({ subcategories, categories, words }: Vocabulary): [string, number[]][] =>
  Object.entries({
    'head.cls.subcategory': subcategories.length,
    'head.cls.category': categories.length,
    'head.cls.word': words.length,
    'head.patches.subcategory': subcategories.length,
    'head.patches.category': categories.length,
    'head.pixels': PATCH_SIZE,
  }).flatMap(([name, outputs]) => [
    [`${name}.weight`, [outputs, CONFIG.width]],
    [`${name}.bias`, [outputs]],
  ]);

/** Small scales of the residual branches make a deep network trainable at once (LayerScale, arXiv 2103.17239). */
const LAYER_SCALE = 0.5;
const POSITION_SCALE = 0.5;
/** About the log-odds of a word: an emoji has few of them. */
const WORD_BIAS = -4;

function start(name: string, shape: readonly number[], seed: number, row: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  if (name.endsWith('.gamma')) return values.fill(LAYER_SCALE);
  if (/norm\d?\.weight$/.test(name)) return values.fill(1);
  if (name === 'pos_embed') {
    // The class token's own position, the first, stays zero.
    values.set(
      sinCosPositions(GRID, CONFIG.width).map((value) => POSITION_SCALE * value),
      CONFIG.width,
    );
    return values;
  }
  if (name === 'head.cls.word.bias') return values.fill(WORD_BIAS);
  if (shape.length === 1) return values;
  fillNormal(values, seed, PURPOSE.init, row);
  const deviation = name.startsWith('head.') || name === 'cls_token' ? 0.02 : 1 / Math.sqrt(sizeOf(shape.slice(1)));
  return values.map((value) => deviation * value);
}

/** Encoder and heads with their first values. */
export function initEncoder(vocabulary: Vocabulary, seed: number): ParameterSpec[] {
  const encoder = [...vitShapes(CONFIG)].map(([name, { shape }]): [string, readonly number[]] => [name, shape]);
  return [...encoder, ...headShapes(vocabulary)].map(([name, shape], row) => ({
    name,
    shape,
    data: start(name, shape, seed, row),
  }));
}

export const isHead = (name: string): boolean => name.startsWith('head.');

/** The outputs of head `name` for features [..., D]. */
export const head = (p: Readonly<Record<string, tf.Tensor>>, name: string, x: tf.Tensor): tf.Tensor =>
  linear(x, p[`head.${name}.weight`], p[`head.${name}.bias`]);
