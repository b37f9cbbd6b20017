/**
 * ReDi (arXiv 2504.16064): a few components of the encoder's features are generated with the latents, as channels of
 * their own. They are the principal components, resized to the latents' grid; as in the published code, the features'
 * dimensions are standardised first. Here the components are scaled to variance 1, as latents are, so that noise covers
 * both alike. The loss was checked against the published code, with its gradients (fixture published/redi). SFD (arXiv
 * 2512.04926) has such channels lead: see models/channel-times.ts.
 */
import { DataError } from '../errors.js';
import { count, fields, later, numeric, type ShapeOf } from '../formats/json-shape.js';
import { leadingEigenvectors } from '../linalg/leading-eigenvectors.js';
import { matrixProduct } from '../linalg/matrix-product.js';
import { PURPOSE, permutation } from '../numbers/random.js';
import { integer, number } from '../options/option.js';
import { options } from '../options/table.js';
import { restoreChannels, storedChannels } from './feature-channels.js';
import { type FeatureChannels, type FeatureData, meanSquare, method, term } from './method.js';

/** Sums over tokens, from which mean and covariance follow. */
export class FeatureMoments {
  readonly dim: number;
  #tokens = 0;
  readonly #sum: Float64Array; // [D]
  readonly #products: Float64Array; // [D, D]

  constructor(dim: number) {
    this.dim = dim;
    this.#sum = new Float64Array(dim);
    this.#products = new Float64Array(dim * dim);
  }

  /** Adds tokens [n, D]. */
  add(tokens: Float32Array): void {
    const { dim } = this;
    const matrix = { rows: tokens.length / dim, columns: dim, data: tokens };
    const { data } = matrixProduct(matrix, matrix, { transposeA: true }); // [D, D]
    for (let i = 0; i < data.length; i++) this.#products[i] += data[i];
    for (let i = 0; i < tokens.length; i++) this.#sum[i % dim] += tokens[i];
    this.#tokens += matrix.rows;
  }

  get mean(): Float64Array {
    return this.#sum.map((sum) => sum / this.#tokens);
  }

  /** [D, D] */
  get covariance(): Float64Array {
    const { dim, mean } = this;
    return this.#products.map((sum, i) => sum / this.#tokens - mean[Math.floor(i / dim)] * mean[i % dim]);
  }
}

/**
 * The first `channels` principal components of standardised features, each of variance 1 and with its largest weight
 * positive.
 * @throws DataError when the features do not vary in that many directions
 */
export function principalComponents(moments: FeatureMoments, channels: number, seed: number): FeatureChannels {
  const { dim, mean, covariance } = moments;
  const deviation = Float64Array.from({ length: dim }, (_, i) => Math.sqrt(Math.max(covariance[i * dim + i], 0)));
  // A dimension that never changes says nothing: its row and column are zero.
  const inverse = deviation.map((each) => (each > 1e-6 ? 1 / each : 0));
  const correlation = covariance.map((each, i) => each * inverse[Math.floor(i / dim)] * inverse[i % dim]);
  const { vectors, values } = leadingEigenvectors({ rows: dim, columns: dim, data: correlation }, channels, seed);
  const weight = new Float32Array(channels * dim);
  const bias = new Float32Array(channels);
  for (let k = 0; k < channels; k++) {
    if (!(values[k] > 1e-6)) throw new DataError(`the features vary in ${k} directions, not in ${channels}`);
    const vector = vectors.subarray(k * dim, (k + 1) * dim);
    const largest = vector.reduce((best, each) => (Math.abs(each) > Math.abs(best) ? each : best), 0);
    const scale = Math.sign(largest) / Math.sqrt(values[k]);
    let offset = 0;
    for (let i = 0; i < dim; i++) {
      weight[k * dim + i] = vector[i] * inverse[i] * scale;
      offset -= weight[k * dim + i] * mean[i];
    }
    bias[k] = offset;
  }
  return { dim, channels, weight, bias };
}

/** The images whose features the components are fitted to, and how many of them at a time. */
const FITTED_IMAGES = 2048;
const FITTED_AT_A_TIME = 32;

/** The components of the first encoder's features, on images drawn from the set. Needs a selected backend. */
async function fitComponents(data: FeatureData, channels: number, seed: number): Promise<FeatureChannels> {
  const moments = new FeatureMoments(data.features[0].dim);
  const images = permutation(data.rows, seed, PURPOSE.components, 0).subarray(0, FITTED_IMAGES).sort();
  for (let start = 0; start < images.length; start += FITTED_AT_A_TIME) {
    moments.add(await data.readFeatures(images.subarray(start, start + FITTED_AT_A_TIME), 0));
  }
  return principalComponents(moments, channels, seed);
}

const SETTINGS = fields({
  weight: numeric,
  /** How many components, each a channel. */
  channels: count,
  /** How far they are ahead of the latents. */
  lead: later(numeric, 0),
});

const CHANNELS = 8;

export const redi = method({
  name: 'redi',
  options: options({
    representation: number(
      '--representation <w>',
      'weight of generating components of the features with the image (ReDi: 1)',
      { min: 0, default: 0, onlyFor: 'SiT' },
    ),
    representationChannels: integer('--representation-channels <n>', 'how many components', {
      min: 1,
      defaultText: String(CHANNELS),
      needs: 'representation',
    }),
    representationLead: number(
      '--representation-lead <d>',
      'how far they are ahead of the latents on the way from noise to data (SFD: 0.3)',
      { min: 0, below: 1, default: 0, needs: 'representation' },
    ),
  }),
  // ReDi alone, without REPA's term.
  presets: { redi: { lambda: 0, representation: 1 } },
  settings: SETTINGS,
  features: 'generated',
  isOn: ({ representation }) => representation > 0,
  settle: ({ representation, representationChannels = CHANNELS, representationLead }): ShapeOf<typeof SETTINGS> => ({
    weight: representation,
    channels: representationChannels,
    lead: representationLead,
  }),
  prepare: {
    part: 'components',
    fit: ({ channels }, data, seed) => fitComponents(data, channels, seed),
    store: storedChannels,
    restore: restoreChannels,
  },
  besides: (_, channels) => ({ channels }),
  channels: ({ channels }) => channels,
  lead: ({ lead }) => lead,
  outputTerms: ({ weight }, { channels }) => [
    term('representation', weight, () => meanSquare(channels!.predicted, channels!.wanted)),
  ],
});
