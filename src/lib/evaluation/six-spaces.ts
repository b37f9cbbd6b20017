/**
 * FDr6 (FD-loss, arXiv 2604.28190): the mean over six networks of how many times as far the samples are from ImageNet's
 * training images as its validation images are, each by the Frechet distance of that network's features. The networks,
 * how they see images and the distances of the validation images are those of the published code.
 */
import { existsSync } from 'node:fs';
import { selectBackend } from '../engine/index.js';
import { MissingInputError, UsageError } from '../errors.js';
import { frechetDistance } from '../metrics/frechet.js';
import { type FeatureNetwork, openFeatureNetwork } from '../pretrained/feature-network.js';
import { FEATURE_SPACES, openFeatureSpace } from '../pretrained/feature-spaces.js';
import { imageProtocol } from './image-protocol.js';
import { type Measurement, type MeasureOptions, type MeasureResult, measure, measureReference } from './measure.js';
import { measureSet } from './measure-set.js';

/** Of Inception's features, FID by ADM's tools. */
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

/** The mean of distances, each in parts of that of the validation images. */
const meanRatio = (distances: readonly { value: number; ofValidation: number }[]): number =>
  distances.reduce((sum, { value, ofValidation }) => sum + value / ofValidation, 0) / distances.length;

/**
 * The distances in all spaces, and their mean ratio last. The images are read once for each network.
 * @throws UsageError for images that can be read once alone
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

/** As `--metrics` names it. */
const SIX_SPACES = 'fdr6';

/**
 * The metrics that options name, FDr6 among them or not.
 * @throws as measure; UsageError for what FDr6 does not go with
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
  const reference = named ?? (existsSync('ref') ? 'ref' : undefined);
  if (reference === undefined) {
    throw new MissingInputError(
      'there is nothing to compare with',
      'Name a reference with --ref, or keep one as ./ref.',
    );
  }
  const first = others.length > 0 ? await measure(images, named, { ...options, metrics: others }) : undefined;
  await selectBackend(options);
  const six = await measureSpaces(spaces(options), images, reference, options);
  return {
    measurements: [...(first?.measurements ?? []), ...six.measurements],
    warnings: [...(first?.warnings ?? []), ...six.warnings],
  };
}
