/** Encoder tokens as latents, from pictures to pictures. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { openTensorFile } from '../../src/lib/stream/file.js';
import { writeTokenWeights } from '../token-weights.js';
import { shell, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

const VAE = '--vae rae:dinov2reg-vit-b --weights encoder.safetensors --size 64 --threads 1';
const TRAIN = `repa train --model SiT-S/2 --patch-size 1 --depth 2 --width 32 --lambda 0 --batch-size 4 --time lognormal --time-shift auto --threads 1`;

test('statistics, latents, training, resumption and pictures', async (t) => {
  const cwd = temporaryFolder(t);
  writeTokenWeights(cwd);
  await makeImages(path.join(cwd, 'imgs'), 10, { side: 64 });
  const line = async (text: string, code = 0): Promise<string> => {
    const done = await shell(text, { cwd });
    assert.equal(done.code, code, `${text}: ${done.stderr}`);
    return code === 0 ? done.stdout.toString() : done.stderr;
  };
  await line(`repa encode-vae imgs ${VAE} --fit-statistics own.safetensors --batch-size 4`);
  await line(`repa encode-vae imgs ${VAE} --statistics own.safetensors --dtype f32 --batch-size 4 > latents`);

  // By their own statistics, every position of every channel has mean 0 and variance 1.
  const file = await openTensorFile(path.join(cwd, 'latents'));
  const size = 64 * 4 * 4;
  const latents = new Float32Array(file.rows * size); // [10, 64, 4, 4]
  await file.read(
    'latent',
    Uint32Array.from({ length: file.rows }, (_, row) => row),
    latents,
  );
  await file.close();
  for (let i = 0; i < size; i++) {
    const values = Array.from({ length: 10 }, (_, row) => latents[row * size + i]);
    const mean = values.reduce((sum, value) => sum + value / 10, 0);
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2 / 10, 0);
    assert.ok(Math.abs(mean) < 1e-3 && Math.abs(variance - 1) < 1e-2, `${i}: ${mean}, ${variance}`);
  }

  assert.match(
    await line('repa encode-vae imgs --vae rae:dinov2reg-vit-b --weights encoder.safetensors --size 64 > none', 69),
    /without their statistics/,
  );
  await line(`${TRAIN} --steps 2 --save-every 2`);
  await line(`${TRAIN} --steps 4 --save-every 2`);
  const decode = '--vae-weights decoder.safetensors --vae-statistics own.safetensors';
  await line(`repa sample --num 2 --steps 2 ${decode} > images`);
  await line(
    'repa sample --num 2 --steps 2 --latents > z && repa decode-vae z --weights decoder.safetensors --statistics own.safetensors > again',
  );
  await line('repa psnr images again --json').then((text) => assert.equal(JSON.parse(text).equal, 2));
  const wrong = await line(
    `repa sample --num 2 --steps 2 --vae-weights decoder.safetensors --vae-statistics statistics.safetensors > none`,
    65,
  );
  // Along the sphere, tokens are taken as they are.
  assert.match(await line(`${TRAIN} --path geodesic --out sphere`, 2), /these latents are standardised/);
  await line(`repa encode-vae imgs ${VAE} --statistics none --batch-size 4 > tokens`);
  await line(`${TRAIN} --path geodesic --latents tokens --steps 2 --out sphere`);
  await line('repa sample --ckpt sphere --num 2 --steps 2 --vae-weights decoder.safetensors > images');
  assert.match(wrong, /standardised by statistics [0-9a-f]{8}, but .* has statistics [0-9a-f]{8}/);
});
