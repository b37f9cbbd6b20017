/** Encoder tokens as latents against the code of RAE: fixtures/published/README.md tells what was run. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, UnavailableError, UsageError } from '../../../src/lib/errors.js';
import { preprocessNormalisation } from '../../../src/lib/images/preprocess.js';
import { type CodecOptions, openCodec } from '../../../src/lib/pretrained/codec.js';
import { readStatistics, StatisticsFit } from '../../../src/lib/pretrained/latent-statistics.js';
import { readTensors, writeWeights } from '../../fixture-weights.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';
import { writeTokenWeights } from '../../token-weights.js';

before(() => selectBackend());

const fixture = fixtureTensors('published/rae');
const folder = temporaryFolder();
const { encoder, decoder, statistics } = writeTokenWeights(folder);
const VAE = 'rae:dinov2reg-vit-b';
const images = fixture.get('inputs.images')!.data.map((byte) => byte / 127.5 - 1); // [2, 3, 64, 64]
const TOLERANCE = 3e-5;

const opened = (options: Partial<CodecOptions>) => openCodec({ vae: VAE, statistics, ...options });

test('latents are those of the published code, standardised at each position', async () => {
  const codec = await opened({ half: 'encoder', weights: encoder });
  assert.deepEqual([codec.column, codec.channels, codec.downsampling], ['latent', 64, 16]);
  const { data } = fixture.get('outputs.latents')!; // [2, 64, 4, 4]
  assertClose(codec.encode(images, 2, 64), data, TOLERANCE * largestMagnitude(data), 'latents');
  codec.dispose();
});

test('images are those of the published code', async () => {
  const codec = await opened({ half: 'decoder', weights: decoder });
  assert.deepEqual([codec.channels, codec.downsampling], [64, 4]);
  const { data } = fixture.get('outputs.images')!; // [2, 3, 16, 16] in [0, 1]
  const decoded = codec.decode(fixture.get('outputs.latents')!.data, 2, 4).map((value) => (value + 1) / 2);
  assertClose(decoded, data, TOLERANCE * largestMagnitude(data), 'images');
  codec.dispose();
});

test('of several blocks it is the mean, each through the norm without scale and shift', async () => {
  const codec = await openCodec({ vae: `${VAE}/2`, weights: encoder, half: 'encoder', raw: true });
  const { data } = fixture.get('outputs.last_two')!;
  assertClose(codec.encode(images, 2, 64), data, TOLERANCE * largestMagnitude(data), 'latents');
  codec.dispose();
});

test("of DINOv3's, chosen by their numbers, it adds the mean token of the last, as RAEv2 does", async () => {
  const tensors = [...readTensors(fixturePath('published/dinov3.safetensors'))];
  const weights = path.join(folder, 'dinov3.safetensors');
  const own = tensors.filter(([name]) => name.startsWith('weights.') && !name.includes('periods')); // those of one head
  writeWeights(weights, new Map(own.map(([name, tensor]) => [name.slice(8), tensor])));
  const dinov3 = fixtureTensors('published/dinov3');
  const { data: normalised } = dinov3.get('image')!; // [2, 3, 64, 64]
  const { mean, std } = preprocessNormalisation('dinov3');
  const channel = (i: number): number => Math.floor(i / 64 ** 2) % 3;
  const pictures = normalised.map((value, i) => 2 * (value * std[channel(i)] + mean[channel(i)]) - 1);
  for (const [blocks, output] of [
    ['/1.2', 'last_two'],
    ['/2', 'last_two'],
    ['', 'last'],
  ] as const) {
    const codec = await openCodec({ vae: `rae:dinov3-vit-l${blocks}`, weights, half: 'encoder', raw: true });
    const { shape, data } = dinov3.get(output)!; // [2, 16, 64]
    const wanted = data.map((_, i) => {
      const [image, rest] = [Math.floor(i / (64 * 16)), i % (64 * 16)];
      return data[image * 64 * 16 + (rest % 16) * shape[2] + Math.floor(rest / 16)];
    });
    assertClose(codec.encode(pictures, 2, 64), wanted, TOLERANCE * largestMagnitude(data), output);
    codec.dispose();
  }
});

test('each choice of blocks has statistics of its own', async () => {
  const told = async (vae: string): Promise<string> =>
    openCodec({ vae, half: 'encoder', weights: encoder }).then(
      () => assert.fail(`${vae} opened without statistics`),
      (error) => `${error.message} ${error.hint}`,
    );
  assert.match(await told(VAE), /repa pull rae-dinov2reg-vit-b-statistics/);
  assert.doesNotMatch(await told(`${VAE}/2`), /repa pull/);
  assert.match(await told('rae:dinov3-vit-l/23'), /repa pull rae-dinov3-vit-l-k23-statistics/);
  assert.match(await told('rae:dinov3-vit-l/12.14.16.18.20.22.24'), /repa pull rae-dinov3-vit-l-k7-statistics/);
});

test('statistics of a set are its mean and its variance over n', async () => {
  const rows = [
    [1, 5],
    [3, 5],
    [8, -1],
  ];
  const fit = new StatisticsFit([2, 1, 1]);
  for (const row of rows) fit.add(Float32Array.from(row));
  assert.equal(fit.rows, 3);
  const file = path.join(folder, 'fitted.safetensors');
  fit.write(file, {});
  const { mean, deviation, shape } = await readStatistics(file);
  assert.deepEqual([...mean], [4, 3]);
  assertClose(deviation, [Math.sqrt(26 / 3 + 1e-5), Math.sqrt(8 + 1e-5)], 1e-6, 'deviation');
  assert.deepEqual(shape, [2, 1, 1]);
  assert.throws(() => new StatisticsFit([2, 1, 1]).write(file, {}), DataError);
});

test('what does not fit is named', async () => {
  const cases: [Partial<CodecOptions>, typeof DataError | typeof UsageError, RegExp][] = [
    [{ vae: 'rae:dinov9' }, UsageError, /no encoder 'dinov9'/],
    [{ vae: 'rae:dinov2reg-vit-b/x' }, UsageError, /no codec/],
    [{ vae: `${VAE}/3`, half: 'encoder', weights: encoder }, UsageError, /has 2 blocks/],
    [{ vae: `${VAE}/2.1`, half: 'encoder', weights: encoder }, UsageError, /has 2 blocks/],
    [{ weights: encoder }, DataError, /not the weights of a decoder/],
    [{ half: 'encoder', weights: decoder }, DataError, /vision transformer/],
    [{ weights: decoder, statistics: decoder }, DataError, /'mean' is missing/],
    [{ vae: 'pixels' }, UsageError, /statistics are for encoder tokens/],
    [{ latentScale: [1] }, UsageError, /take the place of --latent-scale/],
  ];
  for (const [options, kind, message] of cases) {
    await assert.rejects(
      opened(options),
      (error) => error instanceof kind && message.test(error.message),
      String(message),
    );
  }
  const noStatistics = openCodec({ vae: VAE, weights: decoder });
  await assert.rejects(
    noStatistics,
    (error) => error instanceof UnavailableError && /without their statistics/.test(error.message),
  );
  const half = await opened({ weights: decoder });
  assert.throws(() => half.encode(images, 2, 64), /opened as decoder alone/);
  assert.throws(
    () => half.decode(new Float32Array(64 * 64), 1, 8),
    /statistics of latents \[64, 4, 4\], but the latents are \[64, 8, 8\]/,
  );
  half.dispose();
});
