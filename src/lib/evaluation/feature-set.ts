/** The features of one set of images, kept as far as the metrics need them. */
import type { Matrix } from '../linalg/matrix-product.js';
import { type InceptionScore, InceptionScoreEstimate } from '../metrics/inception-score.js';
import { FeatureStatistics, type Gaussian } from '../metrics/statistics.js';
import { FEATURE_KINDS, type FeatureKind, type StatisticsOrigin } from '../metrics/statistics-file.js';
import { drained } from '../numbers/typed-array.js';
import { type ImageFeatures, INCEPTION_CLASSES } from '../pretrained/feature-network.js';

/** What a metric needs: moments of features, the features themselves, or class scores. */
export type Need = FeatureKind | 'rows' | 'logits';

export interface StatisticsSource {
  file: string;
  /** Undefined in files of other programs. */
  origin: StatisticsOrigin | undefined;
  /** Whether the file holds statistics of spatial features. */
  hasSpatial: boolean;
}

export class FeatureSet {
  /** Images added; for statistics from a file, see `gaussian`. */
  count = 0;
  /** Side of the images. */
  size: number | undefined;
  /** How many of the images had another size, and were cropped and resized to it. */
  resized = 0;
  /** The header of the stream of the images. */
  metadata: Readonly<Record<string, string>> = {};
  /** The file of statistics that were not computed here. */
  source: StatisticsSource | undefined;
  readonly #needs = new Set<Need>();
  readonly #seen = new Map<FeatureKind, FeatureStatistics>();
  readonly #gaussians = new Map<FeatureKind, Gaussian>();
  readonly #rows: Float32Array[] = []; // [N, D] each
  readonly #inceptionScore = new InceptionScoreEstimate(INCEPTION_CLASSES);
  #dim = 0;

  /** @param needs what is kept of the images that are added */
  constructor(needs: Iterable<Need> = []) {
    this.want(needs);
  }

  /** Asks for more to be kept of the images that will be added. */
  want(needs: Iterable<Need>): void {
    for (const need of needs) this.#needs.add(need);
  }

  /** Takes in the features of some images. */
  add(count: number, features: ImageFeatures): void {
    this.count += count;
    this.#dim = features.pooled.length / count;
    for (const kind of FEATURE_KINDS) {
      const values = features[kind];
      if (!this.#needs.has(kind) || !values) continue;
      const statistics = this.#seen.get(kind) ?? new FeatureStatistics(values.length / count);
      this.#seen.set(kind, statistics);
      statistics.add(values);
    }
    if (this.#needs.has('rows')) this.#rows.push(features.pooled.slice());
    if (this.#needs.has('logits') && features.logits) this.#inceptionScore.add(features.logits);
  }

  /** Takes statistics of a file in place of those of the images. */
  use(kind: FeatureKind, gaussian: Gaussian): void {
    this.#gaussians.set(kind, gaussian);
  }

  /** Takes cached features in place of computing them. */
  useRows({ rows, columns, data }: Matrix<Float32Array>): void {
    this.count = rows;
    this.#dim = columns;
    this.#rows.splice(0, this.#rows.length, data);
  }

  /** The moments of one kind of features, once all images are seen; undefined if none were. */
  gaussian(kind: FeatureKind): Gaussian | undefined {
    const known = this.#gaussians.get(kind) ?? this.#seen.get(kind)?.gaussian();
    if (known) this.#gaussians.set(kind, known);
    this.#seen.delete(kind); // megabytes that are not needed twice
    return known;
  }

  /** The moments of every kind that there is. */
  gaussians(): Partial<Record<FeatureKind, Gaussian>> {
    const found = FEATURE_KINDS.map((kind) => [kind, this.gaussian(kind)] as const);
    return Object.fromEntries(found.filter(([, gaussian]) => gaussian !== undefined));
  }

  /** The pooled features themselves; undefined if none were kept. */
  rows(): Matrix<Float32Array> | undefined {
    if (this.#rows.length === 0) return undefined;
    if (this.#rows.length > 1) this.#rows.push(drained(this.#rows));
    return { rows: this.count, columns: this.#dim, data: this.#rows[0] };
  }

  /** The Inception Score of the images. @throws DataError when there were no images */
  inceptionScore(): InceptionScore {
    return this.#inceptionScore.result();
  }
}
