/**
 * Feature statistics as .npz, under the names of the FID tools: `mu` [D] and `sigma` [D, D] of the pooled features,
 * `mu_s` and `sigma_s` of the spatial ones. Ours also hold `count`, the number of samples, without which shards cannot
 * be merged, and `origin`, which tells how they were computed: the bytes of a JSON text.
 */
import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { type NpzFile, writeNpz } from '../formats/npz.js';
import { sameShape, showShape } from '../numbers/typed-array.js';
import type { Gaussian } from './statistics.js';

/** The kind of features: those after the last pooling, or those of the spatial layer that sFID takes. */
export type FeatureKind = 'pooled' | 'spatial';

export const FEATURE_KINDS: readonly FeatureKind[] = ['pooled', 'spatial'];

/** How features were computed: statistics can be compared and merged only where these agree. */
export interface StatisticsOrigin {
  network: string;
  network_sha256: string;
  /** How images were brought to the network's size. */
  resize: string;
  /** Further steps from an image to its features, where the network leaves them open; absent in old files. */
  preprocess?: Readonly<Record<string, unknown>>;
  /** Side of the square images, before that. */
  image_size: number;
  /** How many of them had another size, and were cropped to it. */
  resized: number;
}

/** The first fact in which two preprocessings differ, in words; undefined where none does. */
export function preprocessDifference(
  before: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
): string | undefined {
  for (const name of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const [a, b] = [before[name], now[name]].map((fact) => JSON.stringify(fact) ?? 'absent');
    if (a !== b) return `${name} is ${a}, not ${b}`;
  }
  return undefined;
}

const SUFFIX: Readonly<Record<FeatureKind, string>> = { pooled: '', spatial: '_s' };

export const hasStatistics = (file: NpzFile, kind: FeatureKind): boolean => file.has(`mu${SUFFIX[kind]}`);

/** D, the dimension of the features of a kind. */
export const featureDims = (file: NpzFile, kind: FeatureKind): number => file.info(`mu${SUFFIX[kind]}`).shape[0];

/** The number of images, where the file tells. */
export const readCount = (file: NpzFile): number | undefined =>
  file.has('count') ? Number(file.read('count').data[0]) : undefined;

/** @throws DataError when the arrays are missing or do not have the shapes of a mean and a covariance */
export function readStatistics(file: NpzFile, source: string, kind: FeatureKind): Gaussian {
  const [mu, sigma] = [file.read(`mu${SUFFIX[kind]}`), file.read(`sigma${SUFFIX[kind]}`)];
  const dims = mu.shape[0];
  if (mu.shape.length !== 1 || !sameShape(sigma.shape, [dims, dims])) {
    throw new DataError(
      `${source}: a mean of shape ${showShape(mu.shape)} and a covariance of shape ${showShape(sigma.shape)} do not fit`,
    );
  }
  const gaussian = { mean: doubles(mu, source), covariance: doubles(sigma, source), count: readCount(file) };
  const problem = gaussianProblem(gaussian);
  if (problem)
    throw new DataError(
      `${source}: ${problem}`,
      'The program that wrote the file did not finish, or computed it wrongly: make it anew.',
    );
  return gaussian;
}

/** By how much a covariance may miss its bounds: programs that sum in f32 leave such errors. */
const TOLERANCE = 1e-4;

/** What keeps two arrays from being a mean and a covariance, in words; undefined where nothing does. */
function gaussianProblem({ mean, covariance, count }: Gaussian): string | undefined {
  const dims = mean.length;
  if (count !== undefined && !(Number.isInteger(count) && count >= 2)) return `statistics of ${count} images`;
  const lost = mean.findIndex((value) => !Number.isFinite(value));
  if (lost >= 0) return `mu[${lost}] is ${mean[lost]}`;
  const variance = Float64Array.from(mean, (_, i) => covariance[i * (dims + 1)]);
  const negative = variance.findIndex((value) => !(value >= 0));
  if (negative >= 0) return `sigma[${negative}, ${negative}], a variance, is ${variance[negative]}`;
  const deviation = variance.map(Math.sqrt);
  for (let i = 0; i < dims; i++) {
    for (let j = 0; j <= i; j++) {
      const [value, mirrored] = [covariance[i * dims + j], covariance[j * dims + i]];
      const bound = deviation[i] * deviation[j];
      if (!Number.isFinite(value) || !Number.isFinite(mirrored)) {
        return `sigma[${i}, ${j}] is ${Number.isFinite(value) ? mirrored : value}`;
      }
      if (Math.abs(value - mirrored) > TOLERANCE * bound) {
        return `sigma is not symmetric: ${value} at [${i}, ${j}], ${mirrored} at [${j}, ${i}]`;
      }
      if (Math.abs(value) > (1 + TOLERANCE) * bound) {
        return `sigma is no covariance: ${value} at [${i}, ${j}], where the variances allow ${bound} at most`;
      }
    }
  }
  return undefined;
}

/**
 * How the statistics were computed; undefined for files of other programs, which do not tell.
 * @throws DataError when the text is damaged
 */
export function readOrigin(file: NpzFile, source: string): StatisticsOrigin | undefined {
  if (!file.has('origin')) return undefined;
  try {
    return JSON.parse(Buffer.from(file.read('origin').data as Uint8Array).toString());
  } catch (error) {
    throw new DataError(`${source}: origin: ${(error as Error).message}`);
  }
}

/**
 * Writes the file atomically; an old one is replaced.
 * @param more arrays that it shall hold
 */
export async function writeStatistics(
  path: string,
  kinds: Partial<Record<FeatureKind, Gaussian>>,
  origin?: StatisticsOrigin,
  more: readonly [string, HostTensor][] = [],
): Promise<void> {
  const arrays: [string, HostTensor][] = [...more];
  let count: number | undefined;
  for (const [kind, gaussian] of Object.entries(kinds) as [FeatureKind, Gaussian][]) {
    const dims = gaussian.mean.length;
    arrays.push([`mu${SUFFIX[kind]}`, { shape: [dims], dtype: 'f64', data: gaussian.mean }]);
    arrays.push([`sigma${SUFFIX[kind]}`, { shape: [dims, dims], dtype: 'f64', data: gaussian.covariance }]);
    count = gaussian.count;
  }
  if (count !== undefined) arrays.push(['count', { shape: [], dtype: 'i64', data: BigInt64Array.of(BigInt(count)) }]);
  if (origin) {
    const text = new TextEncoder().encode(JSON.stringify(origin));
    arrays.push(['origin', { shape: [text.length], dtype: 'u8', data: text }]);
  }
  await writeNpz(path, arrays);
}

function doubles({ data, dtype }: HostTensor, source: string): Float64Array {
  if (data instanceof Float64Array) return data;
  if (data instanceof Float32Array) return new Float64Array(data);
  throw new DataError(`${source}: the statistics are of type ${dtype}, not f32 or f64`);
}
