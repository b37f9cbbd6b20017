/**
 * Features that are no numbers, do not vary, are few or all the same: every measure refuses them, or has a value for
 * them.
 */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, RepaError } from '../../../src/lib/errors.js';
import { compareFeatures } from '../../../src/lib/evaluation/compare-features.js';
import { probeFeatures } from '../../../src/lib/evaluation/probe.js';
import { cacheName } from '../../../src/lib/evaluation/reference-cache.js';
import { openRows } from '../../../src/lib/exchange/import-tensors.js';
import { openNpz, writeNpz } from '../../../src/lib/formats/npz.js';
import { frechetDistance } from '../../../src/lib/metrics/frechet.js';
import { frechetInfinity } from '../../../src/lib/metrics/frechet-infinity.js';
import { kernelDistance } from '../../../src/lib/metrics/kid.js';
import { precisionRecall } from '../../../src/lib/metrics/precision-recall.js';
import { FeatureStatistics } from '../../../src/lib/metrics/statistics.js';
import { readStatistics } from '../../../src/lib/metrics/statistics-file.js';
import { atomicFileSink } from '../../../src/lib/stream/sink.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { temporaryFolder, writeNpy } from '../../support.js';

before(() => selectBackend({ threads: 1 }));
const root = temporaryFolder();
let files = 0;
const newFile = (ending = ''): string => path.join(root, `${files++}${ending}`);

/** A stream of vectors, labelled in turn by so many classes. */
async function stream(rows: readonly (readonly number[])[], classes = 2, metadata = {}): Promise<string> {
  const file = newFile();
  const columns = [{ name: 'feature', dtype: 'f32' as const, shape: [rows[0].length] }];
  const writer = new TensorWriter(atomicFileSink(file), { columns, metadata });
  for (const [i, row] of rows.entries()) await writer.append(`${i}`, i % classes, { feature: Float32Array.from(row) });
  await writer.end();
  return file;
}

/** The values of a measure, or the error that it is refused with. */
async function valuesOf(measure: () => Promise<number[]> | number[]): Promise<number[] | RepaError> {
  try {
    return await measure();
  } catch (error) {
    if (error instanceof RepaError) return error;
    throw error;
  }
}

const compare = async (a: string, b: string, k = 2): Promise<number[]> => {
  const values: number[] = [];
  for (const metric of ['cknna', 'cka', 'unbiased-cka', 'mutual-knn']) {
    for await (const { value } of compareFeatures(a, b, { metrics: [metric], k })) values.push(value);
  }
  return values;
};

const probe = async (train: string, test?: string, neighbours = 2): Promise<number[]> => {
  const values: number[] = [];
  const settings = { train, test, metric: ['linear', 'knn'], epochs: 2, neighbours, seed: 0 };
  for await (const { accuracy } of probeFeatures(settings)) values.push(accuracy);
  return values;
};

const matrix = (rows: readonly (readonly number[])[]) => ({
  rows: rows.length,
  columns: rows[0].length,
  data: Float32Array.from(rows.flat()),
});

const distances = (rows: readonly (readonly number[])[], others: readonly (readonly number[])[]): number[] => {
  const gaussian = (all: readonly (readonly number[])[]) => {
    const statistics = new FeatureStatistics(all[0].length);
    for (const row of all) statistics.add(Float32Array.from(row));
    return statistics.gaussian();
  };
  const [a, b] = [matrix(rows), matrix(others)];
  const { precision, recall } = precisionRecall(a, b, 2);
  const subsets = { subsets: 2, subsetSize: 3, seed: 0 };
  const [x, y] = [gaussian(rows), gaussian(others)];
  return [frechetDistance(x, y), frechetInfinity(a, y, 0), kernelDistance(a, b, subsets).mean, precision, recall];
};

const value = fc.oneof(
  { weight: 8, arbitrary: fc.float({ min: -4, max: 4, noNaN: true }) },
  { weight: 2, arbitrary: fc.constant(0) },
);
const wild = fc.oneof(
  { weight: 19, arbitrary: value },
  { weight: 1, arbitrary: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY) },
);
/** Rows with zero vectors, equal rows, constant columns; few or many. */
const features = (each: fc.Arbitrary<number>) =>
  fc
    .tuple(fc.integer({ min: 1, max: 12 }), fc.constantFrom('any', 'equal', 'zero', 'constant'))
    .chain(([rows, kind]) => {
      const row = fc.array(each, { minLength: 3, maxLength: 3 });
      if (kind === 'equal') return row.map((one) => Array.from({ length: rows }, () => one));
      if (kind === 'zero') return fc.constant(Array.from({ length: rows }, () => [0, 0, 0]));
      const all = fc.array(row, { minLength: rows, maxLength: rows });
      return kind === 'constant' ? all.map((list) => list.map(([a]) => [a, 1, 1])) : all;
    });

test('whatever the features are, each measure is a finite number or says what is wrong', async () => {
  await fc.assert(
    fc.asyncProperty(features(wild), features(wild), fc.integer({ min: 1, max: 4 }), async (rows, others, k) => {
      const [a, b] = [await stream(rows), await stream(others)];
      const allFinite = (all: readonly (readonly number[])[]) => all.flat().every(Number.isFinite);
      const finite = allFinite(rows) && allFinite(others);
      const aligned = rows.length === others.length ? b : a;
      for (const found of [await valuesOf(() => compare(a, aligned, k)), await valuesOf(() => probe(a, b, k))]) {
        if (found instanceof RepaError) continue;
        assert.ok(allFinite(rows), `${JSON.stringify(rows)} has ${found}`);
        assert.ok(found.every(Number.isFinite), `${found} of ${JSON.stringify([rows, others])}`);
      }
      if (!finite) return;
      const found = await valuesOf(() => distances(rows, others));
      if (!(found instanceof RepaError))
        assert.ok(found.every(Number.isFinite), `${found} of ${JSON.stringify([rows, others])}`);
    }),
    { numRuns: 40 },
  );
});

const NORMAL = Array.from({ length: 12 }, (_, i) => [Math.sin(i), Math.cos(3 * i), (i % 2) - 0.5]);
const refused = (found: number[] | RepaError): string => {
  assert.ok(found instanceof RepaError, `${found}`);
  return found.message;
};

test('features that are no numbers are named', async () => {
  const broken = NORMAL.map((row, i) => (i === 7 ? [row[0], Number.NaN, row[2]] : row));
  const [good, bad] = [await stream(NORMAL), await stream(broken)];
  for (const [a, b] of [
    [good, bad],
    [bad, good],
  ]) {
    assert.match(refused(await valuesOf(() => compare(a, b))), /'feature' of '7' holds NaN/);
    assert.match(refused(await valuesOf(() => probe(a, b))), /'feature' of '7' holds NaN/);
  }
  const npy = newFile('.npy');
  writeNpy(npy, { shape: [12, 3], dtype: 'f32', data: Float32Array.from(broken.flat()) });
  assert.match(refused(await valuesOf(() => compare(npy, npy))), /row 7 holds NaN/);
  const rows = (await openRows(npy, {})).rows;
  await assert.rejects(async () => {
    for await (const _ of rows);
  }, /'hidden' of '000007' holds NaN or infinity/);
  const half = newFile('.npy');
  writeNpy(half, { shape: [2, 2], dtype: 'f16', data: Uint16Array.of(0x3c00, 0, 0, 0x7c00) });
  await assert.rejects(async () => {
    for await (const _ of (await openRows(half, {})).rows);
  }, /'000001' holds NaN or infinity/);
});

test('sets that a measure is not defined on are refused', async () => {
  const three = await stream(NORMAL.slice(0, 3));
  assert.match(refused(await valuesOf(() => compare(three, three, 1))), /at least 4 rows, not 3/);
  const one = await stream(NORMAL, 1);
  assert.match(refused(await valuesOf(() => probe(one, one))), /all rows are of class 0/);
  const [few] = [await stream(NORMAL.slice(0, 2))];
  assert.match(refused(await valuesOf(() => probe(few))), /no rows to test on|cannot train a probe/);
  assert.match(refused(await valuesOf(() => distances(NORMAL, NORMAL.slice(0, 2)))), /cannot take 2 neighbours of 1/);
});

test('classes that training has not seen are never found, and large class numbers cost nothing', async () => {
  const sparse = newFile();
  const columns = [{ name: 'feature', dtype: 'f32' as const, shape: [3] }];
  const writer = new TensorWriter(atomicFileSink(sparse), { columns, metadata: {} });
  for (const [i, row] of NORMAL.entries())
    await writer.append(`${i}`, i % 2 ? 2 ** 31 - 1 : 5, { feature: Float32Array.from(row) });
  await writer.end();
  assert.deepEqual(await probe(sparse, sparse), await probe(await stream(NORMAL), await stream(NORMAL)));
  assert.deepEqual(await probe(sparse, await stream(NORMAL)), [0, 0]);
});

test('sets whose classes have other numbers are not probed together', async () => {
  const classes = (names: string[]) => stream(NORMAL, 2, { 'repa.classes': JSON.stringify(names) });
  const a = await classes(['cat', 'dog']);
  assert.match(
    refused(await valuesOf(async () => probe(a, await classes(['cat', 'fox'])))),
    /class 1 is 'dog' in one and 'fox'/,
  );
  assert.equal((await probe(a, await classes(['cat', 'dog', 'fox']))).length, 2);
});

test('statistics that are none are refused', async () => {
  const x = new FeatureStatistics(4);
  for (let i = 0; i < 40; i++) x.add(Float32Array.of(Math.sin(i), Math.cos(i), Math.sin(3 * i), i % 5));
  const { mean, covariance } = x.gaussian();
  const read = async (change: (sigma: Float64Array, mu: Float64Array) => void, count = 40) => {
    const [mu, sigma, file] = [mean.slice(), covariance.slice(), newFile('.npz')];
    change(sigma, mu);
    await writeNpz(file, [
      ['mu', { shape: [4], dtype: 'f64', data: mu }],
      ['sigma', { shape: [4, 4], dtype: 'f64', data: sigma }],
      ['count', { shape: [], dtype: 'i64', data: BigInt64Array.of(BigInt(count)) }],
    ]);
    const archive = openNpz(file);
    try {
      return readStatistics(archive, 'x.npz', 'pooled');
    } finally {
      archive.close();
    }
  };
  assert.deepEqual((await read(() => {})).covariance, covariance);
  const put = (array: Float64Array, value: number, ...places: number[]) => {
    for (const place of places) array[place] = value;
  };
  const bad: [(sigma: Float64Array, mu: Float64Array) => void, RegExp][] = [
    [(sigma) => put(sigma, Number.NaN, 2), /sigma\[2, 0\] is NaN/],
    [(sigma) => put(sigma, Number.NaN, 8), /sigma\[2, 0\] is NaN/],
    [(_, mu) => put(mu, Number.POSITIVE_INFINITY, 1), /mu\[1\] is Infinity/],
    [(sigma) => sigma.set(sigma.map((each) => -each)), /a variance, is -/],
    [(sigma) => put(sigma, sigma[1] + 0.3, 1), /not symmetric/],
    [(sigma) => put(sigma, 99, 1, 4), /is no covariance: 99/],
  ];
  for (const [change, message] of bad) {
    await assert.rejects(read(change), (error: Error) => error instanceof DataError && message.test(error.message));
  }
  await assert.rejects(
    read(() => {}, 1),
    /statistics of 1 images/,
  );
  // Each pair of features is possible, all three together are not.
  const impossible = Float64Array.of(1, 0.9, -0.9, 0.9, 1, 0.9, -0.9, 0.9, 1);
  const identity = Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  const gaussian = (sigma: Float64Array) => ({ mean: new Float64Array(3), covariance: sigma });
  assert.throws(() => frechetDistance(gaussian(identity), gaussian(impossible)), /not positive semi-definite/);
  assert.throws(() => frechetDistance(gaussian(impossible), gaussian(identity)), /not positive semi-definite/);
});

test("each fact that a reference's features depend on changes the name they are kept under", () => {
  const facts = {
    images: 'a',
    origin: {
      network: 'n',
      network_sha256: 'h',
      resize: 'adm',
      image_size: 32,
      resized: 0,
      preprocess: { crop: 'adm', size: 32, output: 'early', normalise: 'imagenet', positions: 'timm' },
    },
    skipBad: false,
    engine: { backend: 'onnx' as const, version: '1' },
    decoder: { vips: '8' } as never,
    code: 'c',
    version: '0',
  };
  const names = new Set([cacheName(facts)]);
  let changes = 0;
  const change = (at: Record<string, unknown>) => {
    for (const [name, before] of Object.entries(at)) {
      if (typeof before === 'object') {
        change(before as Record<string, unknown>);
        continue;
      }
      at[name] = `${before}!`;
      names.add(cacheName(facts));
      changes++;
      at[name] = before;
    }
  };
  change(facts);
  assert.equal(names.size, changes + 1);
});
