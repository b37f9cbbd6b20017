import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { checkMemory } from '../../../src/lib/evaluation/feature-columns.js';
import { probeNeeds } from '../../../src/lib/evaluation/probe.js';
import { RowStore } from '../../../src/lib/evaluation/row-store.js';
import { rowsOf, someRows } from '../../../src/lib/metrics/feature-rows.js';
import { knnAccuracy } from '../../../src/lib/metrics/knn.js';
import { probeAccuracy, trainLinearProbe } from '../../../src/lib/metrics/linear-probe.js';
import { fillNormal, PURPOSE } from '../../../src/lib/numbers/random.js';
import { makeTensors } from '../../commands/support.js';

before(() => selectBackend());

const [ROWS, DIMS] = [60, 7];
const data = new Float32Array(ROWS * DIMS);
fillNormal(data, 1, PURPOSE.noise, 0);
const labels = Int32Array.from({ length: ROWS }, (_, row) => Number(data[row * DIMS] > 0));

/** Stores the rows in batches of eleven, with room for so many numbers. */
function stored(left: number): { store: RowStore; room: { left: number } } {
  const room = { left };
  const store = new RowStore(DIMS, room);
  for (let row = 0; row < ROWS; row += 11) store.append(data.slice(row * DIMS, (row + 11) * DIMS));
  return { store, room };
}

test('rows come back as they went, from memory and from a file', () => {
  const order = Uint32Array.of(5, 6, 7, 59, 0, 1, 30, 30);
  const expected = new Float32Array(order.length * DIMS);
  rowsOf({ rows: ROWS, columns: DIMS, data }).read(order, expected);
  for (const [left, rest] of [
    [ROWS * DIMS + 9, 9],
    [200, 200],
    [0, 0],
  ]) {
    const { store, room } = stored(left);
    const got = new Float32Array(order.length * DIMS);
    store.read(order, got);
    assert.deepEqual(got, expected);
    someRows(store, Uint32Array.of(59, 5)).read([1], got.subarray(0, DIMS));
    assert.deepEqual(got.slice(0, DIMS), data.slice(5 * DIMS, 6 * DIMS));
    assert.equal(store.rows, ROWS);
    assert.equal(room.left, rest, 'what went to the file takes no room');
    store.close();
  }
});

test('probes are the same of features in a file', () => {
  const [train, held] = [
    Uint32Array.from({ length: 45 }, (_, i) => i),
    Uint32Array.from({ length: 15 }, (_, i) => 45 + i),
  ];
  const judged = [ROWS * DIMS, 0].map((left) => {
    const { store } = stored(left);
    const part = (rows: Uint32Array) => ({
      features: someRows(store, rows),
      labels: labels.filter((_, i) => rows.includes(i)),
    });
    const [known, asked] = [part(train), part(held)];
    const probe = trainLinearProbe(known, { epochs: 3, seed: 1, blockElements: 10 * DIMS });
    const near = knnAccuracy(known.features, known.labels, asked.features, asked.labels, {
      k: 3,
      blockElements: 8 * DIMS,
    });
    const accuracy = probeAccuracy(probe, asked);
    store.close();
    return [probe.weight, probe.mean, accuracy, near];
  });
  assert.deepEqual(judged[1], judged[0]);
  assert.ok((judged[0][3] as number) > 0.5);
});

test('what a probe takes is told by headers, and refused where there is not as much', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'repa-probe-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'features');
  await makeTensors(file, ['a', 'b', 'c', 'd'], { name: 'feature', dtype: 'f32', shape: [5, 100] });
  const settings = { train: file, metric: ['linear', 'knn'], epochs: 1, neighbours: 1, seed: 0 };
  const needs = (await probeNeeds(settings))!;
  assert.equal(needs.disk, 0);
  assert.ok(needs.memory > 250e6 && needs.memory < 300e6, `${needs.memory}`);
  assert.equal(await probeNeeds({ ...settings, test: '-' }), undefined);
  assert.throws(() => checkMemory('features', 2 ** 60), /features: takes [\d.e+]+ PB of memory, and this machine has/);
});
