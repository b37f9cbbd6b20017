/** The autoencoders of REPA-E against the authors' code: a tiny one of their kind, with attention at a resolution. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import { openCodec } from '../../../src/lib/pretrained/codec.js';
import { fixtureWeights, writeWeights } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const folder = temporaryFolder();
const file = path.join(folder, 'e2e.safetensors');
writeWeights(file, fixtureWeights('repa-e'));
const io = fixtureTensors('repa-e/io');
const TOLERANCE = 3e-5;

test('moments and images are those of the published code, the scale that of the file beside the weights', async () => {
  const statistics = ['latents_scale', 'latents_bias'].map((name) => [name, io.get(name)!] as const);
  writeWeights(path.join(folder, 'e2e-latents-stats.safetensors'), new Map(statistics));
  const codec = await openCodec({ vae: 'e2e', weights: file });
  assert.deepEqual([codec.column, codec.channels, codec.downsampling], ['moments', 4, 2]);
  const [scale, shift] = statistics.map(([, { data }]) => Array.from(data));
  assert.deepEqual(codec.scale, { scale, shift });
  const moments = codec.encode(io.get('images')!.data, 1, 32); // [1, 8, 16, 16]
  const expected = [...io.get('mean')!.data, ...io.get('std')!.data];
  assertClose(moments, expected, TOLERANCE * largestMagnitude(expected), 'moments');
  const { data } = io.get('decoded')!;
  assertClose(codec.decode(io.get('mean')!.data, 1, 16), data, TOLERANCE * largestMagnitude(data), 'images');
  codec.dispose();
});

test('statistics of other latents are refused', async () => {
  const other = path.join(folder, 'other.safetensors');
  writeWeights(other, fixtureWeights('repa-e'));
  const three = { shape: [1, 3, 1, 1], data: Float32Array.of(1, 1, 1) };
  const statistics = new Map([
    ['latents_scale', three],
    ['latents_bias', three],
  ]);
  writeWeights(path.join(folder, 'other-latents-stats.safetensors'), statistics);
  const isNamed = (error: Error): boolean =>
    error instanceof DataError && /statistics of 3 channels, but .* have 4/.test(error.message);
  await assert.rejects(openCodec({ vae: 'other', weights: other }), isNamed);
});
