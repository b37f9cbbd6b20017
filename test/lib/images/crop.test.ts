import assert from 'node:assert/strict';
import test from 'node:test';
import { openSafetensors } from '../../../src/lib/formats/safetensors.js';
import { centerCrop } from '../../../src/lib/images/crop.js';
import { fromSignedUnit, mapChannels, toSignedUnit } from '../../../src/lib/images/normalise.js';
import { resizePillow } from '../../../src/lib/images/pillow-resize.js';
import { encoderSide, preprocessForEncoder } from '../../../src/lib/images/preprocess.js';
import { type Resampling, resampleGrid, resamplePlanes } from '../../../src/lib/images/resample.js';
import type { RgbImage } from '../../../src/lib/images/rgb-image.js';
import { fixturePath } from '../../support.js';

const crops = openSafetensors(fixturePath('crop/io.safetensors'));
const inputs = crops.names.filter((name) => name.startsWith('in.')).map((name) => name.slice(3));
assert.equal(inputs.length, 7);

function readImage(name: string): RgbImage {
  const { shape, data } = crops.read(name); // [H, W, 3]
  return { height: shape[0], width: shape[1], data: data as Uint8Array };
}

for (const size of inputs) {
  test(`the centre crop of ${size} is the official one, bit for bit`, () => {
    assert.deepEqual(centerCrop(readImage(`in.${size}`), 64), readImage(`dhariwal64.${size}`));
  });
}

test('a flat picture stays flat through every filter and size', () => {
  const image = { width: 37, height: 23, data: new Uint8Array(37 * 23 * 3).fill(201) };
  for (const [width, height] of [
    [5, 3],
    [1, 1],
    [80, 90],
    [37, 11],
    [3, 23],
  ] as const) {
    for (const filter of ['box', 'bicubic'] as const) {
      const { data, ...sides } = resizePillow(image, width, height, filter);
      assert.deepEqual(sides, { width, height });
      assert.ok(data.length === width * height * 3 && data.every((value) => value === 201), `${filter} ${width}`);
    }
  }
});

const io = openSafetensors(fixturePath('preprocess/io.safetensors'));

/** The uint8 planes [1, 3, H, W] of the fixture as a picture. */
function fixtureImage(): RgbImage {
  const { shape, data } = io.read('image_u8');
  const [height, width] = [shape[2], shape[3]];
  const pixels = height * width;
  return {
    width,
    height,
    data: Uint8Array.from({ length: 3 * pixels }, (_, i) => data[(i % 3) * pixels + Math.floor(i / 3)] as number),
  };
}

/** What the fixture kept of the planes: all of them, the first 8 x 8 pixels, or rows 7, 15, ... */
function kept(planes: Float32Array, side: number, [, , rows, columns]: number[]): Float32Array {
  const row = (i: number) => (columns === 8 ? i : 8 * i + 7);
  return Float32Array.from({ length: 3 * rows! * columns! }, (_, i) => {
    const [channel, y, x] = [Math.floor(i / (rows! * columns!)), Math.floor(i / columns!) % rows!, i % columns!];
    return planes[(channel * side + row(y)) * side + x];
  });
}

/** Patches of the networks that the official training code knows. */
const PATCHES = { dinov2: 14, jepa: 14, clip: 14, dinov1: 16, mocov3: 16, mae: 16 } as const;

for (const kind of Object.keys(PATCHES) as (keyof typeof PATCHES)[]) {
  test(`a picture is prepared for ${kind} as the official training code does it, to 1e-5`, () => {
    const image = fixtureImage();
    const side = encoderSide(PATCHES[kind], 256);
    const planes = preprocessForEncoder(kind, image, side);
    assert.equal(planes.length, 3 * side * side);
    const expected = io.read(`out.${kind}`);
    const actual = kept(planes, side, expected.shape);
    let worst = 0;
    actual.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - (expected.data[i] as number)));
    });
    assert.ok(worst <= 1e-5, `${kind}: ${worst}`);
  });
}

test('resampling by hand-computed weights', () => {
  const line = (method: Resampling, values: number[], width: number) => [
    ...resamplePlanes(Float32Array.from(values), { height: 1, width: values.length }, { height: 1, width }, method),
  ];
  assert.deepEqual(line('bilinear', [0, 1], 4), [0, 0.25, 0.75, 1]);
  assert.deepEqual(line('bilinear-tf1', [0, 1], 4), [0, 0.5, 1, 1]);
  assert.deepEqual(line('bilinear', [0, 1, 2, 3], 2), [0.5, 2.5]);
  assert.deepEqual(line('bilinear-tf1', [0, 1, 2, 3], 2), [0, 2]);
  // Midway between pixels the cubic of a = -0.75 weighs -3/32, 19/32, 19/32, -3/32.
  assert.deepEqual(
    line('bicubic', [0, 32, 0, 0], 2),
    [19 + -3 * 0, -3].map((w) => w),
  );
  for (const method of ['bicubic', 'bicubic-antialias', 'bilinear', 'bilinear-tf1'] as const) {
    assert.deepEqual(line(method, [3, 1, 4, 1, 5], 5), [3, 1, 4, 1, 5], method);
    for (const value of line(method, [7, 7, 7], 8)) assert.ok(Math.abs(value - 7) < 1e-6, method);
    for (const value of line(method, [7], 3)) assert.ok(Math.abs(value - 7) < 1e-6, method);
  }
});

test('a grid of vectors is resampled as its planes are', () => {
  const [height, width, dim] = [5, 7, 3];
  const planes = Float32Array.from({ length: dim * height * width }, (_, i) => Math.sin(i));
  const toGrid = (data: Float32Array, cells: number) =>
    Float32Array.from({ length: dim * cells }, (_, i) => data[(i % dim) * cells + Math.floor(i / dim)]);
  for (const method of ['bicubic', 'bicubic-antialias', 'bilinear'] as const) {
    const from = { height, width };
    const to = { height: 4, width: 9 };
    const grid = resampleGrid(toGrid(planes, 35), from, to, method);
    const expected = toGrid(resamplePlanes(planes, from, to, method), 36);
    grid.forEach((value, i) => {
      assert.ok(Math.abs(value - expected[i]) < 1e-6, `${method} ${i}`);
    });
  }
});

test('bytes go to [-1, 1] and back; the two roundings differ by half a step', () => {
  const image = { width: 16, height: 16, data: Uint8Array.from({ length: 768 }, (_, i) => i % 256) };
  const planes = toSignedUnit(image);
  assert.equal(planes[0], -1);
  assert.equal(Math.max(...planes), 1);
  assert.deepEqual(mapChannels(image, () => (value) => value)[256], 1);
  assert.deepEqual(fromSignedUnit(planes, 16, 16, 'round'), image);
  const bytes = (x: number[], rounding: 'truncate' | 'round') => [
    ...fromSignedUnit(Float32Array.from(x), 1, 1, rounding).data,
  ];
  assert.deepEqual(bytes([-1.5, 0, 1.5], 'truncate'), [0, 127, 255]);
  assert.deepEqual(bytes([-1, 0, 1], 'round'), [0, 128, 255]);
});
