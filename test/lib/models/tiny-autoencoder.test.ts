import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { selectBackend, tf } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import { matchWeights, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { renamed } from '../../../src/lib/models/rename.js';
import {
  decodeTiny,
  encodeTiny,
  inferTinyAutoencoderConfig,
  TINY_DOWNSAMPLING,
  type TinyAutoencoderConfig,
  tinyAutoencoderShapes,
  toTinyNames,
} from '../../../src/lib/models/tiny-autoencoder.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend());

const TAEF2: TinyAutoencoderConfig = { latentChannels: 32, encoder: true, decoder: true, pooled: true };

function randomWeights(config: TinyAutoencoderConfig): Weights {
  let seed = 3;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32 - 0.5;
  };
  return new Map(
    [...tinyAutoencoderShapes(config)].map(([name, { shape }]) => {
      const spread = shape.length > 1 ? 2.5 / Math.sqrt(sizeOf(shape.slice(1))) : 1;
      return [name, { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => random() * spread) }];
    }),
  );
}

interface Image {
  channels: number;
  side: number;
  data: Float64Array; // [C, side, side]
}

/** The layers once more, on the host in double precision and as literally as the published code has them. */
function reference(weights: Weights, half: 'encoder' | 'decoder', sequence: readonly string[], input: Image): Image {
  const map = (x: Image, f: (value: number, i: number) => number): Image => ({ ...x, data: x.data.map(f) });
  const relu = (x: Image) => map(x, (v) => Math.max(0, v));
  const add = (a: Image, b: Image) => map(a, (v, i) => v + b.data[i]);
  const conv = (x: Image, name: string, stride = 1): Image => {
    const { shape, data: kernel } = weights.get(`${name}.weight`)!;
    const bias = weights.get(`${name}.bias`)?.data;
    const [outputs, inputs, size] = shape;
    const pad = (size - 1) / 2;
    const side = Math.floor((x.side + 2 * pad - size) / stride) + 1;
    const data = new Float64Array(outputs * side * side);
    for (let o = 0; o < outputs; o++)
      for (let r = 0; r < side; r++)
        for (let c = 0; c < side; c++) {
          let sum = bias?.[o] ?? 0;
          for (let i = 0; i < inputs; i++)
            for (let y = 0; y < size; y++)
              for (let z = 0; z < size; z++) {
                const row = r * stride + y - pad;
                const column = c * stride + z - pad;
                if (row < 0 || column < 0 || row >= x.side || column >= x.side) continue;
                sum += kernel[((o * inputs + i) * size + y) * size + z] * x.data[(i * x.side + row) * x.side + column];
              }
          data[(o * side + r) * side + c] = sum;
        }
    return { channels: outputs, side, data };
  };
  const groupNorm = (x: Image, name: string): Image => {
    const group = x.data.length / 4;
    const pixels = x.side ** 2;
    const data = new Float64Array(x.data.length);
    for (let start = 0; start < data.length; start += group) {
      const part = x.data.subarray(start, start + group);
      const mean = part.reduce((a, b) => a + b, 0) / group;
      const variance = part.reduce((a, b) => a + (b - mean) ** 2, 0) / group;
      for (let i = start; i < start + group; i++) {
        const channel = Math.floor(i / pixels);
        const scale = weights.get(`${name}.weight`)!.data[channel];
        const shift = weights.get(`${name}.bias`)!.data[channel];
        data[i] = ((x.data[i] - mean) / Math.sqrt(variance + 1e-5)) * scale + shift;
      }
    }
    return { ...x, data };
  };
  const block = (x: Image, name: string): Image => {
    const pooled = weights.has(`${name}.pool.0.weight`);
    const wide = pooled ? relu(groupNorm(conv(x, `${name}.pool.0`), `${name}.pool.1`)) : x;
    const start = pooled ? add(x, conv(wide, `${name}.pool.3`)) : x;
    const inner = conv(relu(conv(relu(conv(start, `${name}.conv.0`)), `${name}.conv.2`)), `${name}.conv.4`);
    return relu(add(inner, start));
  };
  const upsample = (x: Image): Image => {
    const side = 2 * x.side;
    const at = (i: number) =>
      x.data[
        Math.floor(i / side ** 2) * x.side ** 2 + ((Math.floor(i / side) % side) >> 1) * x.side + ((i % side) >> 1)
      ];
    return { ...x, side, data: Float64Array.from({ length: 4 * x.data.length }, (_, i) => at(i)) };
  };
  return sequence.reduce((x, layer, i) => {
    const name = `${half}.${i}`;
    if (layer === 'conv') return conv(x, name);
    if (layer === 'halve') return conv(x, name, 2);
    if (layer === 'block') return block(x, name);
    if (layer === 'upsample') return upsample(x);
    return layer === 'relu' ? relu(x) : map(x, (v) => Math.tanh(v / 3) * 3);
  }, input);
}

const THREE = ['block', 'block', 'block'];
const ENCODER = ['conv', 'block', 'halve', ...THREE, 'halve', ...THREE, 'halve', ...THREE, 'conv'];
const DECODER = [
  'squash',
  'conv',
  'relu',
  ...THREE,
  'upsample',
  'conv',
  ...THREE,
  'upsample',
  'conv',
  ...THREE,
  'upsample',
  'conv',
  'block',
  'conv',
];

describe('tiny autoencoder', () => {
  const weights = randomWeights(TAEF2);
  const load = () => toParameters(matchWeights(weights, tinyAutoencoderShapes(TAEF2), 'taef2'));

  test('encodes as its layers say', () => {
    const pixels = Float64Array.from({ length: 3 * 16 * 16 }, (_, i) => Math.sin(i * i));
    const unit = pixels.map((v) => (v + 1) / 2);
    const expected = reference(weights, 'encoder', ENCODER, { channels: 3, side: 16, data: unit });
    const z = encodeTiny(load(), TAEF2, tf.tensor(Float32Array.from(pixels), [1, 3, 16, 16]));
    assert.deepEqual(z.shape, [1, 32, 16 / TINY_DOWNSAMPLING, 16 / TINY_DOWNSAMPLING]);
    assertClose(z.dataSync(), expected.data, 2e-5, 'latents');
  });

  test('decodes as its layers say', () => {
    const latents = Float64Array.from({ length: 32 * 4 }, (_, i) => 4 * Math.sin(i * i));
    const { data } = reference(weights, 'decoder', DECODER, { channels: 32, side: 2, data: latents });
    const images = decodeTiny(load(), TAEF2, tf.tensor(Float32Array.from(latents), [1, 32, 2, 2]));
    assert.deepEqual(images.shape, [1, 3, 16, 16]);
    assertClose(
      images.dataSync(),
      data.map((v) => 2 * v - 1),
      2e-5,
      'images',
    );
  });

  test('names: one half of the published files, and diffusers', () => {
    for (const half of ['encoder', 'decoder'] as const) {
      const config = { ...TAEF2, encoder: half === 'encoder', decoder: half === 'decoder' };
      const ofHalf: Weights = new Map([...weights].filter(([name]) => name.startsWith(half)));
      const bare = renamed(ofHalf, [[new RegExp(`^${half}\\.`), '']]);
      assert.deepEqual(toTinyNames(bare), ofHalf);
      assert.deepEqual(inferTinyAutoencoderConfig(ofHalf, 'half'), config);
      assert.equal(matchWeights(ofHalf, tinyAutoencoderShapes(config), 'half').size, ofHalf.size);
    }
    const diffusers = new Map(
      [...weights].map(([name, weight]) => [
        name.replace(/^encoder\./, 'encoder.layers.').replace(/^decoder\.(\d+)/, (_, i) => `decoder.layers.${i - 1}`),
        weight,
      ]),
    );
    assert.deepEqual(toTinyNames(diffusers), weights);
  });

  test('the architecture is inferred, another one refused', () => {
    for (const config of [TAEF2, { ...TAEF2, latentChannels: 4, pooled: false }]) {
      assert.deepEqual(inferTinyAutoencoderConfig(tinyAutoencoderShapes(config), 'test'), config);
    }
    assert.throws(() => inferTinyAutoencoderConfig(new Map(), 'x.pth'), DataError);
  });
});
