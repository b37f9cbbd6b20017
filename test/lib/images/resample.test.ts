import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Resampling, resampleGrid, resamplePlanes } from '../../../src/lib/images/resample.js';
import { assertClose } from '../../tensors.js';

const square = (side: number) => ({ height: side, width: side });

/** A sine over the pixels of a `height` x `width` plane, sampled at their centres. */
const wave = (height: number, width: number) =>
  Float32Array.from({ length: height * width }, (_, i) => {
    const row = (Math.floor(i / width) + 0.5) / height;
    const column = ((i % width) + 0.5) / width;
    return Math.sin(3 * row) * Math.cos(2 * column);
  });

describe('resampling planes', () => {
  const methods: Resampling[] = ['bicubic', 'bicubic-antialias', 'bilinear', 'bilinear-tf1'];

  for (const method of methods) {
    test(`${method}: the same size gives the same values, a constant stays constant`, () => {
      const plane = wave(9, 12);
      assert.deepEqual(resamplePlanes(plane, { height: 9, width: 12 }, { height: 9, width: 12 }, method), plane);
      const flat = resamplePlanes(
        new Float32Array(3 * 30).fill(2),
        { height: 5, width: 6 },
        { height: 8, width: 3 },
        method,
      );
      assertClose(flat, new Float32Array(3 * 24).fill(2), 1e-6, method);
    });

    test(`${method}: a grid of vectors is resampled as its planes are`, () => {
      const planes = Float32Array.from([...wave(6, 8), ...wave(6, 8).map((v) => 1 - 2 * v)]); // [2, 6, 8]
      const grid = Float32Array.from({ length: 96 }, (_, i) => planes[(i % 2) * 48 + (i >> 1)]); // [6, 8, 2]
      const to = { height: 5, width: 11 };
      const ofPlanes = resamplePlanes(planes, { height: 6, width: 8 }, to, method); // [2, 5, 11]
      const ofGrid = resampleGrid(grid, { height: 6, width: 8 }, to, method); // [5, 11, 2]
      assert.deepEqual(
        ofGrid,
        Float32Array.from({ length: 110 }, (_, i) => ofPlanes[(i % 2) * 55 + (i >> 1)]),
      );
    });
  }

  test('a smooth picture survives, up to the error of each method', () => {
    const inner = (side: number, plane: Float32Array) =>
      plane.filter(
        (_, i) => Math.min(i % side, Math.floor(i / side), side - 1 - (i % side), side - 1 - Math.floor(i / side)) > 3,
      );
    for (const [method, tolerance] of [
      ['bicubic', 5e-3], // a = -0.75 does not even keep a slope exactly
      ['bicubic-antialias', 2e-3],
      ['bilinear', 5e-3],
    ] as const) {
      for (const side of [24, 61]) {
        const actual = resamplePlanes(wave(40, 40), square(40), square(side), method);
        assertClose(inner(side, actual), inner(side, wave(side, side)), tolerance, `${method} to ${side}`);
      }
    }
  });

  test('TensorFlow 1 has no half-pixel shift', () => {
    const line = resamplePlanes(
      Float32Array.of(0, 1),
      { height: 1, width: 2 },
      { height: 1, width: 4 },
      'bilinear-tf1',
    );
    assert.deepEqual([...line], [0, 0.5, 1, 1]);
    const centred = resamplePlanes(Float32Array.of(0, 1), { height: 1, width: 2 }, { height: 1, width: 4 }, 'bilinear');
    assert.deepEqual([...centred], [0, 0.25, 0.75, 1]);
  });

  test('antialias averages what bicubic alone skips', () => {
    const stripes = Float32Array.from({ length: 64 * 64 }, (_, i) => (i % 64) % 2);
    const averaged = resamplePlanes(stripes, square(64), square(8), 'bicubic-antialias');
    assertClose(averaged, new Float32Array(64).fill(0.5), 0.03, 'stripes');
  });
});
