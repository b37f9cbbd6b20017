/** Scales of latents: told, known or asked for, and never guessed. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import type { HostTensor } from '../../../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import { autoencoderKLShapes } from '../../../src/lib/models/autoencoder-kl.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { checkDecoder, latentSide, openCodec, settledScale } from '../../../src/lib/pretrained/codec.js';
import { settleCodec } from '../../../src/lib/pretrained/latent-codec.js';
import { readLatentScale } from '../../../src/lib/pretrained/latent-scale.js';
import { temporaryFolder } from '../../support.js';

before(() => selectBackend({ threads: 1 }));
const folder = temporaryFolder();

/** Weights of a narrow VAE of so many latent channels, with others beside them. */
function weights(
  name: string,
  latentChannels: number,
  metadata: Record<string, string> = {},
  others: readonly string[] = [],
): string {
  const sizes = { blockOutChannels: [32, 32], layersPerBlock: 1, groups: 32 };
  const config = { ...sizes, latentChannels, quantConv: true, postQuantConv: true };
  const shapes = [...autoencoderKLShapes(config)].map(([each, { shape }]) => [each, [...shape]] as const);
  const extra = others.map((each) => [each, [1]] as const);
  const file = path.join(folder, name);
  const tensors = [...shapes, ...extra].map(([each, shape]): [string, HostTensor] => {
    return [each, { shape: [...shape], dtype: 'f32', data: new Float32Array(sizeOf(shape)) }];
  });
  writeSafetensors(file, tensors, metadata);
  return file;
}

const codecOf = (file: string, more = {}) => openCodec({ vae: 'sd-vae-ft-ema', weights: file, ...more });

test('the scale of a VAE is what its file tells, what its name is known by, or asked for', async () => {
  const cases: [string, number, Record<string, string>, number | undefined][] = [
    ['vae.safetensors', 4, {}, 0.18215],
    ['sdxl-vae.safetensors', 4, {}, 0.13025],
    ['sixteen.safetensors', 16, {}, undefined],
    ['told.safetensors', 16, { scaling_factor: '1.5305', shift_factor: '0.0609' }, 1.5305],
  ];
  for (const [name, channels, metadata, scale] of cases) {
    const codec = await codecOf(weights(name, channels, metadata));
    if (scale === undefined) assert.throws(() => settledScale(codec), UsageError);
    else assert.deepEqual(settledScale(codec), { scale: [scale], shift: [Number(metadata.shift_factor ?? 0)] });
    codec.dispose();
  }
  const given = await codecOf(path.join(folder, 'sixteen.safetensors'), { latentScale: [2], latentShift: [1] });
  assert.deepEqual(settledScale(given), { scale: [2], shift: [1] });
  given.dispose();
  const damaged = weights('damaged.safetensors', 4, { scaling_factor: 'one' });
  await assert.rejects(
    codecOf(damaged),
    (error: Error) => error instanceof DataError && /no scale/.test(error.message),
  );
});

test('latents from elsewhere: the scale of a named codec is its own', () => {
  assert.deepEqual(settleCodec(4, {}, 'z').scale.scale, [0.18215]);
  assert.deepEqual(settleCodec(4, { name: 'sd-vae-ft-mse' }, 'z').scale.scale, [0.18215]);
  assert.deepEqual(settleCodec(4, { name: 'sdxl-vae' }, 'z').scale.scale, [0.13025]);
  assert.deepEqual(settleCodec(4, { name: 'other', scale: [3] }, 'z').scale.scale, [3]);
  assert.throws(() => settleCodec(4, { name: 'other' }, 'z'), /4 channels of other is not known/);
  assert.throws(() => settleCodec(16, { name: 'sdxl-vae' }, 'z'), /16 channels of sdxl-vae is not known/);
  assert.throws(() => settleCodec(4, { name: 'pixels' }, 'z'), UsageError);
});

test('scales of another number than the channels, or of 0, are refused', async () => {
  const file = path.join(folder, 'sixteen.safetensors');
  for (const latentScale of [[1, 2, 3], [0], Array(16).fill(0), []]) {
    await assert.rejects(codecOf(file, { latentScale }), UsageError, `${latentScale}`);
    assert.throws(() => settleCodec(16, { name: 'x', scale: latentScale }, 'z'), UsageError);
  }
  await assert.rejects(codecOf(file, { latentScale: [1], latentShift: [1, 2] }), UsageError);
  assert.throws(() => readLatentScale({ 'repa.latent.scale': '[0]' }, 4, 'z'), DataError);
});

test('losses beside an autoencoder are left out, and counted', async () => {
  const codec = await codecOf(weights('ldm.safetensors', 4, {}, ['loss.logvar', 'loss.discriminator.main.0.weight']));
  assert.deepEqual(codec.notes, [
    'ldm.safetensors: left out: 2 tensors of losses (loss.*), which are no part of an autoencoder',
  ]);
  codec.dispose();
  await assert.rejects(codecOf(weights('odd.safetensors', 4, {}, ['encoder.extra'])), /unexpected/);
});

test('sizes and latents that do not fit are refused', async () => {
  const vae = await codecOf(path.join(folder, 'vae.safetensors'));
  assert.equal(vae.downsampling, 2);
  assert.equal(latentSide(vae, 16), 8);
  assert.throws(() => latentSide(vae, 31), /--size 31: vae\.safetensors takes multiples of 2/);
  checkDecoder(vae, 4, undefined, 'z');
  assert.throws(() => checkDecoder(vae, 16, undefined, 'z'), /latents of 4 channels, but those of z have 16/);
  const pixels = await openCodec({ vae: 'pixels' });
  checkDecoder(pixels, 3, 'pixels', 'z');
  checkDecoder(pixels, 3, undefined, 'z');
  assert.throws(() => checkDecoder(pixels, 3, 'vq-f4', 'z'), /latents of vq-f4, which are no pixels/);
  vae.dispose();
});
