/** The metrics that compare sets of images, each computed from what was kept of the sets. */
import { DataError, UsageError } from '../errors.js';
import { frechetDistance } from '../metrics/frechet.js';
import { frechetInfinity } from '../metrics/frechet-infinity.js';
import { kernelDistance } from '../metrics/kid.js';
import { mongeDistance } from '../metrics/mind.js';
import { precisionRecall } from '../metrics/precision-recall.js';
import type { FeatureKind } from '../metrics/statistics-file.js';
import type { FeatureSet, Need } from './feature-set.js';

export type MetricName = 'fid' | 'fd-infinity' | 'sfid' | 'is' | 'pr' | 'kid' | 'mind';

export interface Score {
  /**
   * The published name where the network is the published one: `FID`; else a name with the network: `FD(emoji-vit)`.
   */
  metric: string;
  value: number;
  /** Standard deviation, for metrics that are means over splits or subsets. */
  deviation?: number;
}

/** How KID draws its subsets; the seed also draws those of FD-infinity, and the directions of MIND. */
export interface SubsetOptions {
  seed: number;
  kidSubsets: number;
  /** Default 1000; for sets of fewer images, nine tenths of them. */
  kidSubsetSize?: number;
}

export interface ScoreContext extends SubsetOptions {
  /** The name of the Frechet distance of the network's features: `FID`, `FD(emoji-vit)`. */
  distance: string;
  /** Name of a network that is not the published Inception; undefined if it is. */
  otherNetwork: string | undefined;
}

interface Metric {
  /** What it needs from the samples, and from the reference. */
  samples: readonly Need[];
  reference: readonly Need[];
  /** Whether its definition needs Inception. */
  inceptionOnly: boolean;
  scores(samples: FeatureSet, reference: FeatureSet | undefined, context: ScoreContext): Score[];
}

/** `FID`, or `FD(network)`: the published name is for the Inception network alone. */
const named = (published: string, general: string, { otherNetwork }: ScoreContext): string =>
  otherNetwork === undefined ? published : `${general}(${otherNetwork})`;

const frechet =
  (kind: FeatureKind, metric: (context: ScoreContext) => string): Metric['scores'] =>
  (samples, reference, context) => {
    const [a, b] = [samples.gaussian(kind), reference?.gaussian(kind)];
    if (!a || !b) throw new DataError(`${metric(context)}: a set holds no statistics of its ${kind} features`);
    return [{ metric: metric(context), value: frechetDistance(a, b) }];
  };

/** The rows of both sets. @throws DataError when one holds statistics only */
function rowsOf(samples: FeatureSet, reference: FeatureSet | undefined, name: string) {
  const [a, b] = [samples.rows(), reference?.rows()];
  if (a && b) return [a, b] as const;
  throw new DataError(`${name} needs images of both sets: the reference holds statistics only`);
}

const subsetSizeFor = (rows: number): number => Math.min(1000, Math.max(2, Math.floor(rows * 0.9)));

export const METRICS: Readonly<Record<MetricName, Metric>> = {
  fid: {
    samples: ['pooled'],
    reference: ['pooled'],
    inceptionOnly: false,
    scores: frechet('pooled', ({ distance }) => distance),
  },
  'fd-infinity': {
    samples: ['rows'],
    reference: ['pooled'],
    inceptionOnly: false,
    scores(samples, reference, context) {
      const [rows, gaussian] = [samples.rows(), reference?.gaussian('pooled')];
      if (!rows || !gaussian) throw new DataError('fd-infinity needs the samples as images, not statistics of them');
      const value = frechetInfinity(rows, gaussian, context.seed);
      return [{ metric: context.distance.replace(/^F(I?)D/, 'F$1D-infinity'), value }];
    },
  },
  sfid: {
    samples: ['spatial'],
    reference: ['spatial'],
    inceptionOnly: true,
    scores: frechet('spatial', (context) => named('sFID', 'sFD', context)),
  },
  is: {
    samples: ['logits'],
    reference: [],
    inceptionOnly: true,
    scores(samples, _reference, context) {
      const { mean, deviation } = samples.inceptionScore();
      return [{ metric: named('IS', 'IS', context), value: mean, deviation }];
    },
  },
  pr: {
    samples: ['rows'],
    reference: ['rows'],
    inceptionOnly: false,
    scores(samples, reference, context) {
      const { precision, recall } = precisionRecall(...rowsOf(samples, reference, 'pr'));
      return [
        { metric: named('precision', 'precision', context), value: precision },
        { metric: named('recall', 'recall', context), value: recall },
      ];
    },
  },
  kid: {
    samples: ['rows'],
    reference: ['rows'],
    inceptionOnly: false,
    scores(samples, reference, context) {
      const [a, b] = rowsOf(samples, reference, 'kid');
      const { seed, kidSubsets: subsets, kidSubsetSize = subsetSizeFor(Math.min(a.rows, b.rows)) } = context;
      const { mean, deviation } = kernelDistance(a, b, { subsets, subsetSize: kidSubsetSize, seed });
      return [{ metric: named('KID', 'KD', context), value: mean, deviation }];
    },
  },
  mind: {
    samples: ['rows'],
    reference: ['rows'],
    inceptionOnly: false,
    scores(samples, reference, context) {
      const value = mongeDistance(...rowsOf(samples, reference, 'mind'), context);
      return [{ metric: named('MIND', 'MD', context), value }];
    },
  },
};

/** @throws UsageError for an unknown name */
export function metricNames(names: readonly string[]): MetricName[] {
  const unknown = names.find((name) => !Object.hasOwn(METRICS, name));
  if (unknown === undefined) return names as MetricName[];
  throw new UsageError(`there is no metric '${unknown}'`, `There are ${Object.keys(METRICS).join(', ')} and fdr6.`);
}

/** @throws UsageError for a metric of the Inception network where another measures */
export function checkNetwork(metrics: readonly MetricName[], isInception: boolean): void {
  const wrong = metrics.find((name) => METRICS[name].inceptionOnly && !isInception);
  if (wrong === undefined) return;
  throw new UsageError(`${wrong} is defined for the Inception network only`, 'Measure it with --net inception.');
}
