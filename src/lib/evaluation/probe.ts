/** What features know of classes, by a linear probe and by their neighbours. */

import { DataError, UsageError } from '../errors.js';
import { crc32 } from '../files/crc32.js';
import { classDifference } from '../images/class-map.js';
import { knnAccuracy } from '../metrics/knn.js';
import { type LabelledFeatures, probeAccuracy, trainLinearProbe } from '../metrics/linear-probe.js';
import { type FeatureColumn, readFeatureColumns } from './feature-columns.js';

export interface ProbeSettings {
  train: string;
  test?: string;
  metric: readonly string[];
  epochs: number;
  neighbours: number;
  seed: number;
}

export interface ProbeResult {
  metric: string;
  column: string;
  /** Share of the test images whose class is right. */
  accuracy: number;
  classes: number;
  train_rows: number;
  test_rows: number;
}

const METRICS = ['linear', 'knn'];

/** One of this many images is held out where no test set is given. */
const HOLDOUT = 5;

/**
 * @throws DataError when rows have no labels or the two sets have other columns; UsageError for an unknown metric
 */
export async function* probeFeatures(settings: ProbeSettings): AsyncGenerator<ProbeResult> {
  for (const metric of settings.metric) {
    if (METRICS.includes(metric)) continue;
    throw new UsageError(`there is no metric '${metric}'`, `There are ${METRICS.join(' and ')}.`);
  }
  const trainColumns = await readFeatureColumns(settings.train);
  const testColumns = settings.test === undefined ? undefined : await readFeatureColumns(settings.test);
  for (const column of trainColumns) {
    const other = testColumns?.find(({ name }) => name === column.name);
    if (testColumns && !other) throw new DataError(`${settings.test}: has no column '${column.name}'`);
    if (other) checkClasses(column, other, settings);
    yield* probeColumn(column, other, settings);
  }
}

/** @throws DataError when the two sets number their classes differently */
function checkClasses(train: FeatureColumn, test: FeatureColumn, settings: ProbeSettings): void {
  const difference = classDifference(train.metadata ?? {}, test.metadata ?? {});
  if (difference === undefined) return;
  throw new DataError(
    `${settings.train} and ${settings.test} number their classes differently: ${difference}`,
    'Extract both from folders that hold the same classes.',
  );
}

/**
 * @param test features of other images; without them, some of `column` are held out
 * @throws DataError when rows have no labels or all the same, or none are left to test on
 */
export function* probeColumn(
  column: FeatureColumn,
  test: FeatureColumn | undefined,
  settings: ProbeSettings,
): Generator<ProbeResult> {
  const isHeldOut = (row: number): boolean => crc32(Buffer.from(column.keys![row])) % HOLDOUT === 0;
  const known = labelled(column, settings.train, (row) => test !== undefined || !isHeldOut(row));
  const asked = labelled(
    test ?? column,
    settings.test ?? settings.train,
    (row) => test !== undefined || isHeldOut(row),
  );
  if (asked.labels.length === 0) {
    throw new DataError(
      `${settings.test ?? settings.train}: leaves no rows to test on`,
      'Give more, or a set with --test.',
    );
  }
  const classes = new Map([...new Set(known.labels)].sort((a, b) => a - b).map((label, index) => [label, index]));
  if (classes.size < 2) {
    const [only] = classes.keys();
    throw new DataError(`${settings.train}: all rows are of class ${only}, and a probe tells classes apart`);
  }
  // Classes by their ranks: labels may be any numbers. One that training has not seen is never found.
  for (const { labels } of [known, asked]) labels.set(labels.map((label) => classes.get(label) ?? -1));
  for (const metric of settings.metric) {
    yield {
      metric,
      column: column.name,
      accuracy: metric === 'linear' ? linear(known, asked, settings) : nearest(known, asked, settings),
      classes: classes.size,
      train_rows: known.labels.length,
      test_rows: asked.labels.length,
    };
  }
}

function linear(train: LabelledFeatures, test: LabelledFeatures, { epochs, seed }: ProbeSettings): number {
  return probeAccuracy(trainLinearProbe(train, { epochs, seed }), test);
}

function nearest(train: LabelledFeatures, test: LabelledFeatures, { neighbours }: ProbeSettings): number {
  return knnAccuracy(train.features, train.labels, test.features, test.labels, { k: neighbours });
}

/** The rows that `take` chooses. */
function labelled(column: FeatureColumn, file: string, take: (row: number) => boolean): LabelledFeatures {
  const { labels, dim, values } = column;
  if (!labels || labels.some((label) => label < 0)) {
    throw new DataError(`${file}: has rows without a label`, 'Labels come from the first level of the image folder.');
  }
  const rows = Array.from({ length: column.rows }, (_, row) => row).filter(take);
  // All of them need no copy: there may be gigabytes.
  if (rows.length === column.rows) {
    return { features: { rows: rows.length, columns: dim, data: values }, labels: labels.slice() };
  }
  const data = new Float32Array(rows.length * dim);
  for (const [i, row] of rows.entries()) data.set(values.subarray(row * dim, (row + 1) * dim), i * dim);
  return { features: { rows: rows.length, columns: dim, data }, labels: Int32Array.from(rows, (row) => labels[row]) };
}
