/** The first frame of a GIF, with the colours of its palette where it is transparent, and what is around it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeImage } from '../../../src/lib/images/decode.js';

/** Four colours. */
const PALETTE = [
  [10, 20, 30],
  [200, 30, 30],
  [0, 255, 0],
  [1, 2, 3],
];

interface Frame {
  left?: number;
  top?: number;
  width: number;
  height: number;
  pixels: number[];
  transparent?: number;
  local?: boolean;
}

const short = (value: number): number[] => [value & 255, value >> 8];

/** Codes of 3 bits, with a clear code before each pixel, so that they stay so wide. */
function pack(pixels: readonly number[]): number[] {
  const codes = [...pixels.flatMap((pixel) => [4, pixel]), 5];
  const bits = codes.flatMap((code) => [code & 1, (code >> 1) & 1, code >> 2]);
  const bytes = Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) =>
    bits.slice(8 * i, 8 * i + 8).reduce((byte, bit, at) => byte + (bit << at), 0),
  );
  return [2, bytes.length, ...bytes, 0];
}

function gif(width: number, height: number, frames: readonly Frame[], global = PALETTE): Buffer {
  const bytes = [...Buffer.from('GIF89a'), ...short(width), ...short(height), 0x81, 0, 0, ...global.flat()];
  for (const { left = 0, top = 0, transparent, local, pixels, ...frame } of frames) {
    if (transparent !== undefined) bytes.push(0x21, 0xf9, 4, 1, 0, 0, transparent, 0);
    bytes.push(0x2c, ...short(left), ...short(top), ...short(frame.width), ...short(frame.height));
    bytes.push(local ? 0x81 : 0, ...(local ? PALETTE.flat() : []), ...pack(pixels));
  }
  return Buffer.from([...bytes, 0x3b]);
}

const colours = (indices: readonly number[]): number[] => indices.flatMap((index) => PALETTE[index]);
const decoded = async (bytes: Buffer) => {
  const { width, height, data } = await decodeImage(bytes, 'x.gif');
  return { width, height, data: [...data] };
};

test('transparent pixels keep the colour that they have in the palette, as Pillow shows them', async () => {
  const pixels = [0, 1, 2, 3];
  for (const transparent of [undefined, 0, 2]) {
    const bytes = gif(2, 2, [{ width: 2, height: 2, pixels, transparent }]);
    assert.deepEqual(await decoded(bytes), { width: 2, height: 2, data: colours(pixels) });
  }
  const local = gif(2, 2, [{ width: 2, height: 2, pixels, transparent: 1, local: true }], PALETTE.toReversed());
  assert.deepEqual((await decoded(local)).data, colours(pixels));
});

test('around a frame is the transparent colour, or the first one', async () => {
  const frame = { left: 1, top: 0, width: 1, height: 1, pixels: [1] };
  assert.deepEqual((await decoded(gif(2, 2, [{ ...frame, transparent: 2 }]))).data, colours([2, 1, 2, 2]));
  assert.deepEqual((await decoded(gif(2, 2, [frame]))).data, colours([0, 1, 0, 0]));
  assert.deepEqual(
    (await decoded(gif(1, 1, [frame]))).data,
    colours([0, 1]),
    'a frame that leaves the screen widens it',
  );
});

test('of an animation the first frame is taken, and others are not read', async () => {
  const first = { width: 2, height: 1, pixels: [1, 2] };
  const bytes = gif(2, 1, [first, { width: 2, height: 1, pixels: [0, 0] }]);
  assert.deepEqual((await decoded(bytes)).data, colours([1, 2]));
  const damaged = Buffer.concat([gif(2, 1, [first]).subarray(0, -1), Buffer.from([0x2c, 9, 9, 9])]);
  assert.deepEqual((await decoded(damaged)).data, colours([1, 2]));
});

test('a GIF that is cut within its first frame is refused, wherever', async () => {
  const bytes = gif(2, 2, [{ width: 2, height: 2, pixels: [0, 1, 2, 3], transparent: 1 }]);
  for (let end = 0; end < bytes.length - 1; end++) {
    await assert.rejects(decodeImage(bytes.subarray(0, end), 'x.gif'), /x\.gif: cannot be decoded/, `cut at ${end}`);
  }
});
