/**
 * FDr6 (FD-loss, arXiv 2604.28190): the mean over six networks of a ratio of Frechet distances in the network's
 * features, that of the samples to ImageNet's training images, over that of its validation images. The networks, their
 * preprocessing and the distances of the validation images are those of the published code.
 */
import { selectBackend } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { frechetDistance } from '../metrics/frechet.js';
import { type FeatureNetwork, openFeatureNetwork } from '../pretrained/feature-network.js';
import { FEATURE_SPACES, openFeatureSpace } from '../pretrained/feature-spaces.js';
import { imageProtocol } from './image-protocol.js';
import {
  type Measurement,
  type MeasureOptions,
  type MeasureResult,
  measure,
  measureReference,
  noReference,
  usualReference,
} from './measure.js';
import { measureSet } from './measure-set.js';

/** The FID of the validation images, by ADM's tools. */
const INCEPTION_OF_VALIDATION = 1.68;

/** A network, and the distance of ImageNet's validation images in its features. */
export interface Space {
  open(): Promise<FeatureNetwork>;
  ofValidation: number;
}

const spaces = ({ batchSize }: Pick<MeasureOptions, 'batchSize'>): Space[] => [
  {
    open: () => openFeatureNetwork({ net: 'inception', resize: 'adm', batchSize }),
    ofValidation: INCEPTION_OF_VALIDATION,
  },
  ...FEATURE_SPACES.map((space) => ({
    open: () => openFeatureSpace(space, batchSize),
    ofValidation: space.ofValidation,
  })),
];

/** The mean of the ratios of distances to those of the validation images. */
const meanRatio = (distances: readonly { value: number; ofValidation: number }[]): number =>
  distances.reduce((sum, { value, ofValidation }) => sum + value / ofValidation, 0) / distances.length;

/**
 * The distances in all spaces, and their mean ratio last. The images are read once for each network.
 * @throws UsageError for images that can be read only once
 */
export async function measureSpaces(
  all: readonly Space[],
  images: string,
  reference: string,
  options: MeasureOptions,
): Promise<MeasureResult> {
  if ([images, reference].includes('-')) {
    throw new UsageError('fdr6 reads its images six times, and stdin ends', 'Write them to a file first.');
  }
  const needs = new Set(['pooled'] as const);
  const measured: { measurement: Measurement; ofValidation: number }[] = [];
  const warnings: string[] = [];
  for (const { open, ofValidation } of all) {
    const network = await open();
    try {
      const samples = await measureSet({ input: images, size: options.size, needs }, network, options);
      const target = await measureReference(
        { input: reference, size: samples.size, needs },
        network,
        options,
        warnings,
      );
      const [a, b] = [samples.gaussian('pooled')!, target.gaussian('pooled')!];
      const { name, sha256, resize, distance } = network;
      const measurement = {
        ...{ metric: distance, value: frechetDistance(a, b), count: a.count ?? null, image_size: samples.size ?? null },
        ...imageProtocol(samples.metadata),
        ...{ reference, reference_count: b.count ?? null, network: name, network_sha256: sha256, resize },
      };
      measured.push({ measurement, ofValidation });
    } finally {
      network.dispose();
    }
  }
  const distances = measured.map(({ measurement: { value }, ofValidation }) => ({ value, ofValidation }));
  const [{ measurement: first }] = measured;
  const each = measured.map(({ measurement }) => measurement);
  const mean: Measurement = {
    ...first,
    metric: 'FDr6',
    value: meanRatio(distances),
    network: each.map(({ network }) => network).join(', '),
    network_sha256: each.map(({ network_sha256 }) => network_sha256).join(', '),
    resize: each.map(({ resize }) => resize).join('; '),
  };
  warnings.push(
    'FDr6 holds distances of 50,000 samples to the 1,281,167 training images of ImageNet against published ones',
  );
  return { measurements: [...each, mean], warnings };
}

/** Its name in `--metrics`. */
const SIX_SPACES = 'fdr6';

/**
 * Measures the metrics that options name, FDr6 among them or not.
 * @throws as measure; UsageError for options that FDr6 does not take
 */
export async function measureMetrics(
  images: string,
  named: string | undefined,
  options: MeasureOptions,
): Promise<MeasureResult> {
  if (images === '-' && named === '-') {
    throw new UsageError('the images and the reference cannot both come from stdin', 'Name a file.');
  }
  const others = options.metrics.filter((name) => name !== SIX_SPACES);
  if (others.length === options.metrics.length) return measure(images, named, options);
  const wrong = options.saveStats ? '--save-stats' : options.weights ? '--weights' : undefined;
  if (wrong) throw new UsageError(`${wrong} is of one network, and fdr6 takes six`, 'Measure fdr6 by itself.');
  const reference = named ?? usualReference();
  if (reference === undefined) {
    throw noReference();
  }
  const first = others.length > 0 ? await measure(images, named, { ...options, metrics: others }) : undefined;
  await selectBackend(options);
  const six = await measureSpaces(spaces(options), images, reference, options);
  return {
    measurements: [...(first?.measurements ?? []), ...six.measurements],
    warnings: [...(first?.warnings ?? []), ...six.warnings],
  };
}
