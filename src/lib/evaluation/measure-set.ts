/** Measures one set of images: computes its features, or takes statistics of them from a file. */
import path from 'node:path';
import { inBatches } from '../batches.js';
import { DataError } from '../errors.js';
import { type NpzFile, openNpz } from '../formats/npz.js';
import { centerCrop } from '../images/crop.js';
import type { DecodedImage } from '../images/decode-images.js';
import type { ImageInput } from '../images/open-images.js';
import {
  FEATURE_KINDS,
  type FeatureKind,
  hasStatistics,
  preprocessDifference,
  readOrigin,
  readStatistics,
  type StatisticsOrigin,
} from '../metrics/statistics-file.js';
import { firstNonFinite } from '../numbers/finite.js';
import type { FeatureNetwork } from '../pretrained/feature-network.js';
import type { Progress } from '../progress.js';
import { FeatureSet, type Need } from './feature-set.js';

export interface SetOptions {
  batchSize: number;
  open(path: string): Promise<ImageInput>;
  progress(label: string, total?: number): Progress;
}

/** A set of images to measure. */
export interface SetRequest {
  /** An input of openImages, or an .npz of statistics. */
  input: string;
  /** Side of the squares that images are cropped to; undefined to refuse images of several sizes. */
  size: number | undefined;
  needs: ReadonlySet<Need>;
}

/** A cache of the features of sets that were measured before. */
export interface SetCache {
  /** Loads what is needed into the set; false if not all of it is cached. */
  use(needs: ReadonlySet<Need>, set: FeatureSet): Promise<boolean>;
  keep(set: FeatureSet): Promise<void>;
}

/**
 * Measures as much of a set as is needed: what a file of statistics holds is taken from it, then what a cache holds,
 * and the rest is computed.
 * @throws DataError when the set cannot be measured, or its statistics are of another network
 */
export async function measureSet(
  request: SetRequest,
  network: FeatureNetwork,
  options: SetOptions,
  cache?: SetCache,
): Promise<FeatureSet> {
  const { input, size, needs } = request;
  const missing = new Set(needs);
  const set = new FeatureSet();
  if (path.extname(input) === '.npz') {
    for (const kind of useStatistics(input, network, set, needs)) missing.delete(kind);
    if (missing.size === 0) return set;
  }
  set.size = size ?? set.size;
  if (await cache?.use(missing, set)) return set;
  // All that the network gives is computed, so that the cache serves every metric.
  set.want(cache && !set.source ? [...missing, ...kindsOf(network)] : missing);
  await addImages(set, request, network, options);
  await cache?.keep(set);
  return set;
}

/** The statistics that a network gives. */
export const kindsOf = ({ dims }: FeatureNetwork): FeatureKind[] => FEATURE_KINDS.filter((kind) => kind in dims);

async function addImages(
  set: FeatureSet,
  { input, size, needs }: SetRequest,
  network: FeatureNetwork,
  { batchSize, open, progress }: SetOptions,
): Promise<void> {
  const source = await open(input);
  const bar = progress(input === '-' ? 'measure' : `measure ${path.basename(input)}`, source.total);
  set.metadata = source.metadata;
  for await (const batch of inBatches(source.images, batchSize)) {
    const squares = batch.map((each) => square(each, input, set, size !== undefined));
    const features = network.features(squares);
    for (const values of [features.pooled, features.spatial, features.logits]) {
      const broken = values ? firstNonFinite(values) : -1;
      if (broken < 0) continue;
      const { key } = batch[Math.floor((broken * batch.length) / values!.length)];
      throw new DataError(`${input}: ${network.name} gives ${values![broken]} for '${key}'`);
    }
    set.add(batch.length, features);
    bar.advance(batch.length);
  }
  bar.finish();
  const where = input === '-' ? 'stdin' : input;
  if (set.count === 0) throw new DataError(`${where}: holds no images`);
  if (set.count === 1 && FEATURE_KINDS.some((kind) => needs.has(kind))) {
    throw new DataError(`${where}: holds one image, and a covariance takes at least two`);
  }
}

/** The image if it has the set's size; else cropped to it where that was asked for. */
function square({ key, image }: DecodedImage, input: string, set: FeatureSet, crop: boolean) {
  const { width, height } = image;
  if (set.size === undefined && width === height) set.size = width;
  if (width === set.size && height === set.size) return image;
  if (crop) {
    set.resized++;
    return centerCrop(image, set.size!);
  }
  const others = set.size === undefined ? 'which is no square' : `others are ${set.size}x${set.size}`;
  throw new DataError(
    `${input}: '${key}' is ${width}x${height}, ${others}`,
    'Images have to be squares of one size: --size N crops them, as ADM prepares ImageNet.',
  );
}

/** Takes the statistics that an .npz holds. @returns their kinds */
function useStatistics(
  file: string,
  network: FeatureNetwork,
  set: FeatureSet,
  needs: ReadonlySet<Need>,
): FeatureKind[] {
  const archive = openNpz(file);
  try {
    const held = FEATURE_KINDS.filter((kind) => hasStatistics(archive, kind));
    const kinds = held.filter((kind) => needs.has(kind));
    checkImages(
      file,
      archive,
      [...needs].filter((need) => !kinds.includes(need as FeatureKind)),
      held.length > 0,
    );
    if (kinds.length === 0) return kinds;
    const origin = readOrigin(archive, file);
    if (origin) checkOrigin(file, origin, network);
    set.source = { file, origin, hasSpatial: held.includes('spatial') };
    set.size = origin?.image_size;
    set.resized = origin?.resized ?? 0;
    for (const kind of kinds) {
      const gaussian = readStatistics(archive, file, kind);
      if (gaussian.mean.length !== network.dims[kind]) {
        throw new DataError(
          `${file}: statistics of ${gaussian.mean.length} ${kind} features, but ${network.name} gives ${network.dims[kind]}`,
          'They were made with another network: name it with --net.',
        );
      }
      set.use(kind, gaussian);
    }
    return kinds;
  } finally {
    archive.close();
  }
}

/** @throws DataError when a file of statistics holds neither what is needed nor the images to compute it from */
function checkImages(file: string, archive: NpzFile, missing: readonly Need[], isOfStatistics: boolean): void {
  if (missing.length === 0 || archive.has('arr_0') || !isOfStatistics) return;
  const what = missing.map((need) => (need === 'spatial' ? 'statistics of spatial features (sfid)' : 'images'));
  throw new DataError(
    `${file}: holds statistics, but not ${[...new Set(what)].join(' and ')}`,
    'Of statistics alone, only fid and sfid can be computed; is, pr, kid, mind and fd-infinity need images.',
  );
}

function checkOrigin(file: string, origin: StatisticsOrigin, network: FeatureNetwork): void {
  if (origin.network_sha256 !== network.sha256) {
    const short = (sha256: string): string => `SHA-256 ${sha256.slice(0, 8)}...`;
    throw new DataError(
      `${file}: statistics of the features of ${origin.network} (${short(origin.network_sha256)}), not of ${network.name} (${short(network.sha256)})`,
      'Name the network they were made with by --net and --weights, or make them anew.',
    );
  }
  if (origin.resize !== network.resize) {
    throw new DataError(
      `${file}: statistics of images resized as '${origin.resize}', not '${network.resize}'`,
      'Measure with the same --resize, or make them anew.',
    );
  }
  const difference = origin.preprocess && preprocessDifference(origin.preprocess, network.preprocess);
  if (difference) {
    throw new DataError(
      `${file}: statistics of features whose ${difference}`,
      'Measure with the same options of the network, or make them anew.',
    );
  }
}
