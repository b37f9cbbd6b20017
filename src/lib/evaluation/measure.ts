/** Measuring one set of images against another, with everything that makes the number comparable. */
import { existsSync } from 'node:fs';
import { type BackendOptions, selectBackend } from '../engine/index.js';
import { MissingInputError, UsageError } from '../errors.js';
import { isPipe } from '../files/named-pipe.js';
import { FEATURE_KINDS, type StatisticsOrigin, writeStatistics } from '../metrics/statistics-file.js';
import { type FeatureNetwork, type FeatureNetworkOptions, openFeatureNetwork } from '../pretrained/feature-network.js';
import type { Shard } from '../stream/shards.js';
import { comparabilityWarnings } from './comparability.js';
import type { FeatureSet, Need } from './feature-set.js';
import { type ImageProtocol, imageProtocol } from './image-protocol.js';
import { kindsOf, measureSet, type SetOptions, type SetRequest } from './measure-set.js';
import { cacheFile, keep, useCached } from './reference-cache.js';
import { checkNetwork, METRICS, type MetricName, metricNames, type Score, type SubsetOptions } from './scores.js';

export interface MeasureOptions extends BackendOptions, FeatureNetworkOptions, SubsetOptions, SetOptions {
  metrics: readonly string[];
  /** Side of the squares that all images are cropped to; else only those of the reference are, to the samples' size. */
  size?: number;
  saveStats?: string;
  /** The part of the images whose statistics are saved. */
  shard?: Shard;
  /** Whether the features of a reference are kept for the next time. */
  cache: boolean;
  /** Whether unreadable images are left out. */
  skipBad?: true;
}

/** The reference that is taken where none is named, if it is there. */
export const usualReference = (): string | undefined => (existsSync('ref') ? 'ref' : undefined);

export const noReference = (): MissingInputError =>
  new MissingInputError('there is nothing to compare with', 'Name a reference with --ref, or keep one as ./ref.');

/** One number, with the protocol that it was measured by. What is not known is null. */
export interface Measurement extends Score, ImageProtocol {
  count: number | null;
  /** Side of the images that were compared. */
  image_size: number | null;
  reference: string | null;
  /** Images of the reference; published files do not say. */
  reference_count: number | null;
  network: string;
  network_sha256: string;
  resize: string;
  /** Further preprocessing, where the network leaves it open, and the output of an ONNX file. */
  preprocess?: Readonly<Record<string, unknown>>;
}

export interface MeasureResult {
  measurements: Measurement[];
  /** What makes the numbers hard to compare. */
  warnings: string[];
}

/**
 * @param images and `reference` as openImages takes them, or an .npz of statistics
 * @returns no measurements when only statistics were asked for
 * @throws MissingInputError when there is no reference; DataError when a set cannot be measured
 */
export async function measure(
  images: string,
  reference: string | undefined,
  options: MeasureOptions,
): Promise<MeasureResult> {
  if (options.shard && !(options.saveStats && reference === undefined)) {
    throw new UsageError('--shard is for statistics of a part', 'Use it with --save-stats, and without a reference.');
  }
  const metrics = metricNames(options.metrics); // before any weights are looked at
  await selectBackend(options);
  const network = await openFeatureNetwork(options);
  try {
    checkNetwork(metrics, network.isInception);
    return await measureIn(network, metrics, images, reference, options);
  } finally {
    network.dispose();
  }
}

async function measureIn(
  network: FeatureNetwork,
  metrics: readonly MetricName[],
  images: string,
  reference: string | undefined,
  options: MeasureOptions,
): Promise<MeasureResult> {
  const needs = (set: 'samples' | 'reference'): Set<Need> => new Set(metrics.flatMap((name) => METRICS[name][set]));
  const sampleNeeds = new Set([...needs('samples'), ...(options.saveStats ? kindsOf(network) : [])]);
  const samples = await measureSet({ input: images, size: options.size, needs: sampleNeeds }, network, options);
  const protocol = imageProtocol(samples.metadata);
  if (options.saveStats) await saveStatistics(options.saveStats, samples, network);
  const referenceNeeds = needs('reference');
  const named = options.shard ? undefined : (reference ?? usualReference() ?? samples.metadata['repa.reference']);
  if (referenceNeeds.size > 0 && named === undefined) {
    if (options.saveStats) return { measurements: [], warnings: [] };
    throw noReference();
  }
  const warnings: string[] = [];
  const target =
    named && referenceNeeds.size > 0
      ? await measureReference({ input: named, size: samples.size, needs: referenceNeeds }, network, options, warnings)
      : undefined;
  const { name: networkName, sha256, resize, preprocess, isInception, isPublished, distance } = network;
  const context = { ...options, distance, otherNetwork: isInception && isPublished ? undefined : networkName };
  const shared = {
    count: (samples.gaussian('pooled')?.count ?? samples.count) || null,
    image_size: samples.size ?? null,
    ...protocol,
    reference: (target && named) ?? null,
  };
  const measurements = metrics.flatMap((name: MetricName) => {
    const reference_count = (target && countFor(name, target)) ?? null;
    return METRICS[name].scores(samples, target, context).map((score) => {
      const features = { network: networkName, network_sha256: sha256, resize, ...(preprocess && { preprocess }) };
      return { ...score, ...shared, reference_count, ...features };
    });
  });
  return { measurements, warnings: [...warnings, ...comparabilityWarnings(network, samples, target, protocol)] };
}

/** How many images of the reference a metric uses: published files hold statistics of more images than they contain. */
function countFor(name: MetricName, target: FeatureSet): number | undefined {
  const kind = FEATURE_KINDS.find((each) => METRICS[name].reference.includes(each));
  return kind ? target.gaussian(kind)?.count : target.count || undefined;
}

function originOf(network: FeatureNetwork, imageSize: number, resized = 0): StatisticsOrigin {
  const { name, sha256, resize, preprocess } = network;
  return { network: name, network_sha256: sha256, resize, preprocess, image_size: imageSize, resized };
}

async function saveStatistics(file: string, samples: FeatureSet, network: FeatureNetwork): Promise<void> {
  const { size, resized } = samples;
  await writeStatistics(file, samples.gaussians(), size === undefined ? undefined : originOf(network, size, resized));
}

/**
 * Measures the reference, its images cropped to the size of the samples, or takes what was cached of it.
 * @param warnings problems of the cache are added to it
 */
export function measureReference(
  request: SetRequest,
  network: FeatureNetwork,
  options: SetOptions & Pick<MeasureOptions, 'cache' | 'skipBad'>,
  warnings: string[],
): Promise<FeatureSet> {
  const { input, size } = request;
  if (!options.cache || size === undefined || isPipe(input)) return measureSet(request, network, options);
  const origin = originOf(network, size);
  let file: string;
  return measureSet(request, network, options, {
    async use(needs, set) {
      file = await cacheFile({ input, origin, skipBad: options.skipBad ?? false });
      return useCached(file, needs, set);
    },
    async keep(set) {
      const problem = await keep(file, set, origin);
      if (problem) warnings.push(problem);
    },
  });
}
