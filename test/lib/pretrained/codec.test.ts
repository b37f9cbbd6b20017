import assert from 'node:assert/strict';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UnavailableError, UsageError } from '../../../src/lib/errors.js';
import { writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import type { Weights } from '../../../src/lib/models/parameters.js';
import { tinyAutoencoderShapes } from '../../../src/lib/models/tiny-autoencoder.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { openCodec } from '../../../src/lib/pretrained/codec.js';
import { fixtureWeightsFile } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

test('the autoencoder of latent diffusion: moments are mean, then standard deviation, of each image', async () => {
  const io = fixtureTensors('vae/io');
  const codec = await openCodec({ vae: 'tiny-sd', weights: fixtureWeightsFile('vae') });
  assert.deepEqual([codec.column, codec.channels, codec.downsampling], ['moments', 4, 8]);
  assert.deepEqual(codec.scale, { scale: [0.18215], shift: [0] });
  const x = io.get('x')!.data; // [1, 3, 64, 64]
  const dark = new Float32Array(x.length).fill(-1);
  const moments = codec.encode(Float32Array.from([...dark, ...x]), 2, 64); // [2, 8, 8, 8]
  const expected = [...io.get('mean')!.data, ...io.get('std')!.data];
  assertClose(moments.subarray(8 * 64), expected, 3e-5 * largestMagnitude(expected), 'moments');
  const { data } = io.get('decoded')!;
  assertClose(codec.decode(io.get('z')!.data, 1, 8), data, 3e-5 * largestMagnitude(data), 'images');
  codec.dispose();
});

test('fewer images than at first are what they are among others', async () => {
  const { data } = fixtureTensors('vae/io').get('z')!; // [1, 4, 8, 8]
  const codec = await openCodec({ vae: 'tiny-sd', weights: fixtureWeightsFile('vae') });
  const others = data.map((value) => -value);
  const three = codec.decode(Float32Array.from([...others, ...data, ...others]), 3, 8);
  const size = three.length / 3;
  assert.deepEqual(codec.decode(data, 1, 8), three.slice(size, 2 * size));
  codec.dispose();
});

test('the autoencoder reads the weights that it needs, for each size again, until it is disposed of', async () => {
  const { data } = fixtureTensors('vae/io').get('x')!; // [1, 3, 64, 64]
  const codec = await openCodec({ vae: 'tiny-sd', weights: fixtureWeightsFile('vae') });
  const whole = codec.encode(data, 1, 64);
  const corner = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => {
    const [plane, pixel] = [Math.floor(i / 1024), i % 1024];
    return data[plane * 4096 + Math.floor(pixel / 32) * 64 + (pixel % 32)];
  });
  assert.equal(codec.encode(corner, 1, 32).length, 8 * 4 * 4);
  assert.deepEqual(codec.encode(data, 1, 64), whole);
  // More images than at first: one by one.
  assert.deepEqual([...codec.encode(Float32Array.from([...data, ...data]), 2, 64)], [...whole, ...whole]);
  codec.dispose();
  assert.throws(() => codec.encode(data, 1, 64), /was closed before it was read/);
});

describe('tiny autoencoders', () => {
  const folder = temporaryFolder();
  const write = (half: 'encoder' | 'decoder'): string => {
    const config = { latentChannels: 4, encoder: half === 'encoder', decoder: half === 'decoder', pooled: false };
    const weights: Weights = new Map();
    for (const [name, { shape }] of tinyAutoencoderShapes(config)) {
      const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(i + shape.length) / 30);
      weights.set(name.replace(`${half}.`, ''), { shape, data });
    }
    const file = path.join(folder, `${half}.safetensors`);
    writeSafetensors(
      file,
      [...weights].map(([name, { shape, data }]) => [name, { shape: [...shape], dtype: 'f32', data }]),
    );
    return file;
  };

  test('one latent an image; each published file is one half', async () => {
    const encoder = await openCodec({ vae: 'taesd', weights: write('encoder') });
    assert.deepEqual([encoder.column, encoder.channels, encoder.downsampling], ['latent', 4, 8]);
    assert.deepEqual(encoder.scale, { scale: [1], shift: [0] });
    const images = Float32Array.from({ length: 2 * 3 * 16 * 16 }, (_, i) => Math.cos(i));
    const latents = encoder.encode(images, 2, 16);
    assert.equal(latents.length, 2 * 4 * 2 * 2);
    assertClose(encoder.encode(images.subarray(3 * 256), 1, 16), latents.subarray(16), 1e-6, 'alone and in a batch');
    assert.throws(() => encoder.decode(latents, 2, 2), UsageError);

    const decoder = await openCodec({ vae: 'taesd', weights: write('decoder') });
    assert.equal(decoder.decode(latents, 2, 2).length, images.length);
    assert.throws(() => decoder.encode(images, 2, 16), UsageError);
  });

  test('the scale of the latents can be given', async () => {
    const codec = await openCodec({ vae: 'taesd', weights: write('encoder'), latentScale: [2] });
    assert.deepEqual(codec.scale, { scale: [2], shift: [0] });
  });
});

test('a name without weights, and weights of another network, are refused', async () => {
  await assert.rejects(openCodec({ vae: 'no-such-vae' }), UnavailableError);
  await assert.rejects(openCodec({ vae: 'x', weights: fixtureWeightsFile('dit') }), DataError);
});
