/**
 * REPA-G (arXiv 2602.03753): sampling is drawn towards images whose features, as the projector of the aligned block
 * sees them in noise, are those of an anchor. The energy is E = -lambda mean_n cos(h_phi(h_n), y_n), and t times its
 * gradient in x joins the drift of the sampler. Checked against the published code: gradients and samples (fixture
 * published/repa-g).
 */
import { tf } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import { portablePath } from '../files/portable-path.js';
import { showShape } from '../numbers/typed-array.js';
import { cosineSimilarity } from '../repa/cosine.js';
import { projectedShape } from '../repa/projected.js';
import { openTensorFile } from '../stream/file.js';
import type { RunRecord } from '../training/record.js';
import type { SamplerOptions } from './options.js';

/** What samples are drawn to. */
export interface Anchor {
  /** Of one image, [T, D], or of all of it, [1, D]. */
  features: Float32Array;
  tokens: number;
  dim: number;
  /** What the rows of its file hold, in digits. */
  content: string;
  /** Lambda. */
  scale: number;
  /** Whether the mean over tokens is compared, not each. */
  mean: boolean;
  low: number;
  high: number;
  /** How the gradient joins what the sampler takes for the velocity. */
  drift: 'ode' | 'sde';
}

/** The energy of each image, [B]: `projected` [B, T, D], of the patches through the projector. */
function anchorEnergy(projected: tf.Tensor, { features, tokens, dim, scale, mean }: Anchor): tf.Tensor {
  const target = tf.tensor(features, [1, tokens, dim]);
  const seen = mean ? tf.mean(projected, 1, true) : projected; // [B, 1, D] or [B, T, D]
  const similar = cosineSimilarity(seen, tf.broadcastTo(target, seen.shape)); // [B, 1] or [B, T]
  return tf.mul(tf.mean(similar, 1), -scale);
}

/**
 * What joins the velocity, of the gradient of the energy and times, [B, C, h, w] and [B]. In an ODE the velocity is the
 * drift: t times the gradient. In the SDE of w = 2 t on the linear path the drift is (2 - t) v + x, so that it is t /
 * (2 - t).
 */
function anchoredVelocity(gradient: tf.Tensor, t: tf.Tensor, { low, high, drift }: Anchor): tf.Tensor {
  const share = drift === 'ode' ? t : tf.div(t, tf.sub(2, t)); // [B]
  const inside = tf.cast(tf.logicalAnd(tf.greaterEqual(t, low), tf.lessEqual(t, high)), 'float32'); // [B]
  return tf.mul(gradient, tf.reshape(tf.mul(share, inside), [-1, 1, 1, 1])); // [B, C, h, w]
}

/**
 * What the anchor adds to the velocity of `x` [B, C, h, w] at times `t` [B]: [B, C, h, w].
 * @param seen the patches of a noisy `x` through the projector, [B, T, dim]
 */
export function drawnTo(anchor: Anchor, seen: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor, t: tf.Tensor): tf.Tensor {
  const energy = (moving: tf.Tensor): tf.Tensor => tf.sum(anchorEnergy(seen(moving), anchor)); // scalar
  return anchoredVelocity(tf.grad(energy)(x), t, anchor);
}

/** The same before its features are read. */
export interface AnchorSettings extends Omit<Anchor, 'features' | 'tokens' | 'dim' | 'content'> {
  /** The stream, and which of its rows. */
  file: string;
  row: number;
}

/**
 * @throws UsageError for a network without a projector, and samplers whose drift is not known to take it
 */
export function settleAnchor(
  { repaGuidance: scale = 0, anchor: file, anchorRow: row = 0, anchorMean, ...options }: SamplerOptions,
  record: RunRecord,
  source: string,
): AnchorSettings | undefined {
  if (scale === 0 || file === undefined) return undefined;
  if (!projectedShape(record)) {
    throw new UsageError(
      `--repa-guidance: ${source} has no projector to compare features through`,
      'Sample a model that was trained with --lambda above 0.',
    );
  }
  const drift = options.mode === 'sde' ? 'sde' : 'ode';
  const { guidanceLow: low = 0, guidanceHigh: high = 1, diffusion = 'linear', diffusionNorm = 1 } = options;
  const isKnown = diffusion === 'linear' && diffusionNorm === 1 && record.training.path === 'linear';
  if (record.architecture !== 'SiT' || (drift === 'sde' && !isKnown)) {
    throw new UsageError(
      '--repa-guidance is for a SiT, by --mode ode, or by --mode sde of --diffusion linear on a linear path',
      'Change the sampler, or sample without.',
    );
  }
  return { scale, file, row, mean: anchorMean ?? false, low, high, drift };
}

export const describeAnchor = ({ scale, file, row, mean, low, high }: AnchorSettings): Record<string, unknown> => ({
  repa_guidance: scale,
  anchor: { features: portablePath(file), row, mean, interval: [low, high] },
});

/**
 * Reads the features of the anchor.
 * @param wanted tokens and width that the projector of the model gives
 * @throws UsageError for a row that is not there; DataError for features of another shape
 */
export async function readAnchor(
  { file, row, ...settings }: AnchorSettings,
  wanted: { tokens: number; dim: number },
): Promise<Anchor> {
  const opened = await openTensorFile(file);
  try {
    const column = opened.schema.columns.find(({ name }) => name === 'feature');
    if (column?.shape.length !== 2)
      throw new DataError(`${file}: has no features`, 'Make them with repa extract-dino.');
    const [tokens, dim] = column.shape;
    if (dim !== wanted.dim || tokens !== wanted.tokens) {
      throw new DataError(
        `${file}: features of ${showShape(column.shape)} cannot anchor a model that was aligned with ${showShape([wanted.tokens, wanted.dim])}`,
        'Take those of the encoder that it was aligned with.',
      );
    }
    if (row >= opened.rows) throw new UsageError(`--anchor-row ${row}: ${file} has rows 0 to ${opened.rows - 1}`);
    const all = new Float32Array(tokens * dim);
    opened.read('feature', [row], all);
    const features = settings.mean ? tokenMean(all, dim) : all;
    return { ...settings, features, tokens: features.length / dim, dim, content: opened.content };
  } finally {
    opened.close();
  }
}

/** The mean over tokens of `features` [T, D]: [D]. */
function tokenMean(features: Float32Array, dim: number): Float32Array {
  const tokens = features.length / dim;
  const sum = new Float64Array(dim);
  features.forEach((value, i) => {
    sum[i % dim] += value;
  });
  return Float32Array.from(sum, (value) => value / tokens);
}
