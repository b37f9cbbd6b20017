/**
 * The arithmetic of states on devices is that of the host: here on ONNX Runtime, which has f64 too; on XLA by .ci/xla.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostSpace, type Values } from '../../../src/lib/diffusion/space.js';
import { OnnxTarget } from '../../../src/lib/engine/onnx/target.js';
import { lower } from '../../../src/lib/engine/xla/lower/index.js';
import * as graphs from '../../../src/lib/engine/xla/space-graphs.js';
import type { TypedArray } from '../../../src/lib/numbers/typed-array.js';

const [ROWS, SIZE] = [3, 4];
const TOLERANCE = { absolute: 1e-6, relative: 1e-3 };
const double = { dtype: 'float64', rows: ROWS, size: SIZE } as const;
const single = { ...double, dtype: 'float32' } as const;
const waves = (seed: number) => Float64Array.from({ length: ROWS * SIZE }, (_, i) => Math.sin(12.9898 * i + seed));

const target = new OnnxTarget(1);
const host = hostSpace<Values, Float32Array>();

function computed({ inputs, outputs }: graphs.RowGraph, ...data: TypedArray[]): Values[] {
  const program = target.load(outputs, inputs, 'feed', {});
  const results = program.run(data) as Values[];
  program.dispose();
  return results;
}

test('sums by weights, of rows or of all, of f64 and f32', () => {
  const [a, b] = [waves(1), Float32Array.from(waves(2))];
  const perRow = Float64Array.of(0.1, -2, 3);
  const table = Float64Array.from({ length: 2 * ROWS }, (_, i) => (i % 2 === 0 ? 0.7 : perRow[i >> 1]));
  const [sum] = computed(graphs.combination([double, single]), table, a, b);
  assert.deepEqual(sum, host.combine([0.7, perRow], [a, b]));
});

test('chooses rows', () => {
  const [a, b] = [waves(1), waves(2).fill(Number.NaN, 0, SIZE)];
  const [chosen] = computed(graphs.choice([double, double]), Int32Array.of(1, 0, 1), a, b);
  assert.deepEqual(chosen, host.choose([true, false, true], a, b));
});

test('measures rows by a tolerance', async () => {
  const [x, a, b] = [waves(1), waves(2), waves(3)];
  const [squares] = computed(graphs.squareRatios([double, double, double], TOLERANCE), x, a, b);
  const expected = await host.ratios(x, [a, b], TOLERANCE, ROWS);
  for (const [row, square] of squares.entries()) {
    assert.ok(Math.abs(Math.sqrt(square) / expected[row] - 1) < 1e-14, `row ${row}`);
  }
});

test('doubles, halves, cuts and joins rows', () => {
  const [a, b] = [waves(1), Float32Array.from(waves(2))];
  const [both] = computed(graphs.twice(single), b);
  assert.deepEqual(both, host.twice(b));
  assert.deepEqual(computed(graphs.halves({ ...single, rows: 2 * ROWS }), both), host.halves(both));
  const [cut] = computed(graphs.columns(double, 1, 3), a);
  assert.deepEqual(cut, host.columns(a, 1, 3, ROWS));
  assert.equal(host.sizeOf(cut, ROWS), 2);
  const [joined] = computed(graphs.join([{ ...double, size: 2 }, single]), cut, b);
  assert.deepEqual(joined, host.join([cut, b], ROWS));
});

test('is written for XLA in f64, with numbers to their last digit', () => {
  const { inputs, outputs } = graphs.squareRatios([double, single, double], { absolute: 0.1, relative: Number.NaN });
  const { text } = lower(outputs, inputs, { products: 'bf16' });
  assert.match(text, /%arg1: tensor<3x4xf32>/);
  assert.match(text, /convert %arg1 : \(tensor<3x4xf32>\) -> tensor<3x4xf64>/);
  assert.match(text, /constant dense<1\.0e-1> : tensor<f64>/);
  assert.match(text, /constant dense<0x7FF8000000000000> : tensor<f64>/);
  assert.match(text, /-> \(tensor<3xf64>\)/);
});
