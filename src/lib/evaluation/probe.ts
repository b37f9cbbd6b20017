/** How well features tell classes apart, by a linear probe and by nearest neighbours. */

import { tmpdir } from 'node:os';
import { DataError, UnavailableError, UsageError } from '../errors.js';
import { crc32 } from '../files/crc32.js';
import { freeBytes, showBytes } from '../files/space.js';
import { classDifference } from '../images/class-map.js';
import { someRows } from '../metrics/feature-rows.js';
import { knnAccuracy, knnMemory } from '../metrics/knn.js';
import { type LabelledFeatures, linearProbeMemory, probeAccuracy, trainLinearProbe } from '../metrics/linear-probe.js';
import { checkMemory, featureSize, type StoredColumn, storeFeatureColumns } from './feature-columns.js';

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
  /** Share of the test images whose class is predicted right. */
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
  const room = { left: IN_MEMORY };
  const trainColumns = await storeFeatureColumns(settings.train, room);
  const testColumns = settings.test === undefined ? undefined : await storeFeatureColumns(settings.test, room);
  try {
    for (const column of trainColumns) {
      const other = testColumns?.find(({ name }) => name === column.name);
      if (testColumns && !other) throw new DataError(`${settings.test}: has no column '${column.name}'`);
      if (other) checkClasses(column, other, settings);
      yield* probeColumn(column, other, settings);
    }
  } finally {
    for (const { features } of [...trainColumns, ...(testColumns ?? [])]) features.close();
  }
}

/** How many numbers of features are kept in memory: 256 MiB. */
const IN_MEMORY = 2 ** 26;
/** Bytes of the program, its engine and its buffers. */
const PROGRAM = 250e6;

/** The memory and disk that a probe needs, in bytes. */
export interface ProbeNeeds {
  memory: number;
  /** Bytes of a file in the folder for temporary files; 0 where memory holds the features. */
  disk: number;
}

/**
 * What a probe will take, by the headers of its inputs.
 * @returns undefined where an input tells nothing before it is read: a pipe, an .npy
 * @throws DataError when this machine has not as much memory; UnavailableError when its disk has no room
 */
export async function probeNeeds({ train, test, metric }: ProbeSettings): Promise<ProbeNeeds | undefined> {
  const sizes = [await featureSize(train), test === undefined ? undefined : await featureSize(test)];
  const [known] = sizes;
  if (!known || (test !== undefined && !sizes[1])) return undefined;
  const there = sizes.flatMap((size) => size ?? []);
  const numbers = there.reduce((sum, { rows, columns }) => {
    return sum + rows * columns.reduce((dims, { dim }) => dims + dim, 0);
  }, 0);
  const isKept = numbers <= IN_MEMORY;
  const widest = Math.max(...known.columns.map(({ dim }) => dim));
  const sets = there.map(({ rows }) => ({ rows, columns: widest }));
  const work = [
    metric.includes('linear') ? linearProbeMemory(sets[0], new Set(known.labels).size) : 0,
    metric.includes('knn') ? knnMemory(sets.length > 1 ? sets : [sets[0], sets[0]]) : 0,
  ];
  const needs = {
    memory: PROGRAM + 4 * Math.min(numbers, IN_MEMORY) + Math.max(...work),
    disk: isKept ? 0 : 4 * numbers,
  };
  checkMemory(train, needs.memory);
  if (needs.disk > freeBytes(tmpdir())) {
    throw new UnavailableError(
      `${train}: its features take ${showBytes(needs.disk)} in ${tmpdir()}, which has ${showBytes(freeBytes(tmpdir()))} left`,
      'TMPDIR names another folder.',
    );
  }
  return needs;
}

/** @throws DataError when the two sets number their classes differently */
function checkClasses(train: StoredColumn, test: StoredColumn, settings: ProbeSettings): void {
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
  column: StoredColumn,
  test: StoredColumn | undefined,
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
  // Labels may be any numbers: classes are numbered by rank. One that training has not seen is never predicted.
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
function labelled(column: StoredColumn, file: string, take: (row: number) => boolean): LabelledFeatures {
  const { labels, features } = column;
  if (!labels || labels.some((label) => label < 0)) {
    throw new DataError(`${file}: has rows without a label`, 'Labels come from the first level of the image folder.');
  }
  const rows = Uint32Array.from({ length: column.rows }, (_, row) => row).filter(take);
  return { features: someRows(features, rows), labels: Int32Array.from(rows, (row) => labels[row]) };
}
