/** Measuring one set of images against another, with everything that makes the number comparable. */
import { existsSync } from 'node:fs';
import { type BackendOptions, selectBackend } from '../engine/index.js';
import { DataError, MissingInputError, UsageError } from '../errors.js';
import { FEATURE_KINDS, type FeatureKind, type StatisticsOrigin, writeStatistics } from '../metrics/statistics-file.js';
import { type FeatureNetwork, type FeatureNetworkOptions, openFeatureNetwork } from '../networks/feature-network.js';
import type { Shard } from '../stream/shards.js';
import { comparabilityWarnings } from './comparability.js';
import type { FeatureSet, Need } from './feature-set.js';
import { measureSet, type SetOptions } from './measure-set.js';
import { cachedStatistics, keepStatistics } from './reference-cache.js';
import { checkMetrics, METRICS, type MetricName, type Score, type SubsetOptions } from './scores.js';

export interface MeasureOptions extends BackendOptions, FeatureNetworkOptions, SubsetOptions, SetOptions {
  metrics: readonly string[];
  /** Side of the squares that all images are cropped to; else only those of the reference are, to the samples' size. */
  size?: number;
  saveStats?: string;
  /** The part of the images whose statistics are saved. */
  shard?: Shard;
  /** Whether statistics of a folder that is a reference are kept for the next time. */
  cache: boolean;
  /** Whether unreadable images are left out. */
  skipBad?: true;
}

/** One number, with the protocol that it was measured by. */
export interface Measurement extends Score {
  count: number;
  reference: string | undefined;
  /** Images of the reference, where that is known. */
  reference_count: number | undefined;
  /** Side of the images that were compared. */
  image_size: number | undefined;
  network: string;
  network_sha256: string;
  resize: string;
  /** How the images were sampled, as their header tells. */
  sampler: unknown;
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
  await selectBackend(options);
  const network = await openFeatureNetwork(options);
  try {
    return await measureIn(network, images, reference, options);
  } finally {
    network.dispose();
  }
}

async function measureIn(
  network: FeatureNetwork,
  images: string,
  reference: string | undefined,
  options: MeasureOptions,
): Promise<MeasureResult> {
  const metrics = checkMetrics(options.metrics, network.isInception);
  const needs = (set: 'samples' | 'reference'): Set<Need> => new Set(metrics.flatMap((name) => METRICS[name][set]));
  const sampleNeeds = new Set([...needs('samples'), ...(options.saveStats ? kindsOf(network) : [])]);
  const samples = await measureSet(images, options.size, sampleNeeds, network, options);
  if (options.saveStats) await saveStatistics(options.saveStats, samples, network);
  const referenceNeeds = needs('reference');
  const named = options.shard
    ? undefined
    : (reference ?? (existsSync('ref') ? 'ref' : samples.metadata['repa.reference']));
  if (referenceNeeds.size > 0 && named === undefined) {
    if (options.saveStats) return { measurements: [], warnings: [] };
    throw new MissingInputError(
      'there is nothing to compare with',
      'Name a reference with --ref, or keep one as ./ref.',
    );
  }
  const warnings: string[] = [];
  const target =
    named && referenceNeeds.size > 0
      ? await measureReference(named, samples.size, referenceNeeds, network, options, warnings)
      : undefined;
  const context = { ...options, otherNetwork: network.isPublished ? undefined : network.name };
  const protocol = {
    count: samples.gaussian('pooled')?.count ?? samples.count,
    reference: target && named,
    image_size: samples.size,
    network: network.name,
    network_sha256: network.sha256,
    resize: network.resize,
    sampler: samples.metadata['repa.sampler'] && JSON.parse(samples.metadata['repa.sampler']),
  };
  const measurements = metrics.flatMap((name: MetricName) => {
    const reference_count = target && countFor(name, target);
    return METRICS[name].scores(samples, target, context).map((score) => ({ ...score, reference_count, ...protocol }));
  });
  return { measurements, warnings: [...warnings, ...comparabilityWarnings(network, samples, target)] };
}

/** How many images of the reference a metric is of: published files hold statistics of more than the images in them. */
function countFor(name: MetricName, target: FeatureSet): number | undefined {
  const kind = FEATURE_KINDS.find((each) => METRICS[name].reference.includes(each));
  return kind ? target.gaussian(kind)?.count : target.count || undefined;
}

/** All statistics that a network gives, so that a file of them serves every metric. */
const kindsOf = (network: FeatureNetwork): readonly FeatureKind[] => (network.isInception ? FEATURE_KINDS : ['pooled']);

function originOf({ name, sha256, resize }: FeatureNetwork, imageSize: number, resized = 0): StatisticsOrigin {
  return { network: name, network_sha256: sha256, resize, image_size: imageSize, resized };
}

async function saveStatistics(file: string, samples: FeatureSet, network: FeatureNetwork): Promise<void> {
  const { size, resized } = samples;
  await writeStatistics(file, samples.gaussians(), size === undefined ? undefined : originOf(network, size, resized));
}

/**
 * The reference, its images cropped to the size of the samples; of a folder seen before, the statistics kept then.
 * @param warnings where what went wrong without harm is added
 */
export async function measureReference(
  input: string,
  size: number | undefined,
  needs: Set<Need>,
  network: FeatureNetwork,
  options: SetOptions & Pick<MeasureOptions, 'cache' | 'skipBad'>,
  warnings: string[],
): Promise<FeatureSet> {
  const origin = size === undefined ? undefined : originOf(network, size);
  const cached = options.cache && origin && cachedStatistics(input, origin, options.skipBad ?? false);
  if (!cached || !origin) return measureSet(input, size, needs, network, options);
  if (existsSync(cached) && [...needs].every((need) => need === 'pooled' || need === 'spatial')) {
    try {
      return await measureSet(cached, size, needs, network, options);
    } catch (error) {
      if (!(error instanceof DataError)) throw error; // a damaged file is made again
    }
  }
  const set = await measureSet(input, size, new Set([...needs, ...kindsOf(network)]), network, options);
  const problem = await keepStatistics(cached, set, { ...origin, resized: set.resized });
  if (problem) warnings.push(problem);
  return set;
}
