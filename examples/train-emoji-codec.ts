/**
 * Trains the codec that ships with repa, `src/assets/emoji-vae.safetensors`: an autoencoder of AutoencoderKL's layout,
 * which makes of 64 pixels 8 x 8 latents of 8 channels, on four fifths of the emoji.
 *
 *     node dist/examples/train-emoji-codec.js --work runs/emoji-vae -o src/assets/emoji-vae.safetensors
 *
 * The loss is that of a variational autoencoder: the squared and the absolute error of the picture, and the divergence
 * of the posterior from a standard normal. What is shipped is the moving average of the weights, in f16, with the scale
 * of the latents folded in, so that 0.18215, the factor of Stable Diffusion's autoencoder, is the right one. Stopped,
 * it goes on from the newest snapshot in the folder --work. At the end it prints how near held-out emoji come back.
 */
import { parseArgs } from 'node:util';
import { capture, selectBackend, type tf } from '../src/lib/engine/index.js';
import type { HostTensor } from '../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../src/lib/formats/safetensors.js';
import { decode, encode } from '../src/lib/models/autoencoder-kl.js';
import { halfFromFloat } from '../src/lib/numbers/half.js';
import { fillNormal, PURPOSE } from '../src/lib/numbers/random.js';
import { ParameterStore } from '../src/lib/optim/index.js';
import { GROUPS_KEY } from '../src/lib/pretrained/kl-codec.js';
import { CODEC, codecLoss, foldScale, initCodec, LATENT_SHAPE, LATENT_SIZE } from './emoji/codec-model.js';
import { isHeldOut, listEmoji, readEmoji } from './emoji/dataset.js';
import type { Picture } from './emoji/evaluation.js';
import { PictureOrder, SEED, trainNetwork } from './emoji/training-loop.js';
import { drawsOf, VIEW_SHAPE, VIEW_SIZE, writeMoved, writeSigned } from './emoji/views.js';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', short: 'o', default: 'emoji-vae.safetensors' },
    work: { type: 'string', default: 'emoji-vae' },
    steps: { type: 'string', default: '850' },
    threads: { type: 'string', default: '1' },
  },
});
const BATCH = 16;

await selectBackend({ threads: Number(options.threads) });
const pictures: Picture[] = await Promise.all(
  listEmoji().map(async (emoji) => ({ emoji, pixels: await readEmoji(emoji) })),
);
const order = new PictureOrder(pictures);
const store = new ParameterStore(initCodec(SEED));
trainNetwork({
  store,
  loss: (images, noise) => codecLoss(store.tensors, images, noise),
  parts: ['squared', 'absolute', 'divergence'],
  inputs: [VIEW_SHAPE, LATENT_SHAPE].map((shape) => ({ shape: [BATCH, ...shape], dtype: 'float32' })),
  fill: fillBatch,
  steps: Number(options.steps),
  learningRate: 2e-3,
  weightDecay: 0,
  emaDecay: 0.995,
  folder: options.work,
});
const trained = pictures.filter(({ emoji }) => !isHeldOut(emoji));
const heldOut = pictures.filter(({ emoji }) => isHeldOut(emoji));
ship(options.out);

/** Moved pictures, and the noise of their posteriors. */
function fillBatch([images, noise]: readonly Float32Array[], step: number): void {
  for (let row = 0; row < BATCH; row++) {
    const draw = drawsOf(SEED, step, row);
    const tones = order.at(step * BATCH + row);
    const { pixels } = tones[Math.floor(draw(0, tones.length))];
    writeMoved(pixels, images.subarray(row * VIEW_SIZE, (row + 1) * VIEW_SIZE), draw);
    fillNormal(noise.subarray(row * LATENT_SIZE, (row + 1) * LATENT_SIZE), SEED, PURPOSE.posterior, row, step);
  }
}

/** `fn` of each picture in [-1, 1], in batches; the last batch is filled up with what was in it before. */
function overPictures(
  set: readonly Picture[],
  fn: (images: tf.Tensor) => tf.Tensor[],
  take: (outputs: Float32Array[], batch: readonly Picture[], images: Float32Array) => void,
): void {
  const program = capture(fn, [{ shape: [BATCH, ...VIEW_SHAPE], dtype: 'float32' }]);
  const images = new Float32Array(BATCH * VIEW_SIZE);
  for (let start = 0; start < set.length; start += BATCH) {
    const batch = set.slice(start, start + BATCH);
    for (const [row, { pixels }] of batch.entries()) writeSigned(pixels, images.subarray(row * VIEW_SIZE));
    take(program.run(images) as Float32Array[], batch, images);
  }
  program.dispose();
}

/** Mean and deviation of each channel over the latents of the training pictures, whose posteriors are drawn from. */
function latentStatistics(): { mean: number; deviation: number }[] {
  const area = LATENT_SIZE / CODEC.latentChannels;
  const sums = Array.from({ length: CODEC.latentChannels }, () => ({ count: 0, sum: 0, squares: 0 }));
  overPictures(
    trained,
    (images) => {
      const { mean, std } = encode(store.emaTensors, CODEC, images);
      return [mean, std];
    },
    ([means, deviations], batch) => {
      for (let i = 0; i < batch.length * LATENT_SIZE; i++) {
        const channel = sums[Math.floor(i / area) % CODEC.latentChannels];
        channel.count++;
        channel.sum += means[i];
        channel.squares += means[i] ** 2 + deviations[i] ** 2;
      }
    },
  );
  return sums.map(({ count, sum, squares }) => {
    const mean = sum / count;
    return { mean, deviation: Math.sqrt(squares / count - mean ** 2) };
  });
}

/** Peak signal-to-noise ratio in dB, of pictures that come back in 8 bits: the mean over pictures. */
function psnr(set: readonly Picture[]): number {
  let total = 0;
  overPictures(
    set,
    (images) => [decode(store.emaTensors, CODEC, encode(store.emaTensors, CODEC, images).mean)],
    ([decoded], batch, images) => {
      for (const row of batch.keys()) {
        let error = 0;
        for (let i = row * VIEW_SIZE; i < (row + 1) * VIEW_SIZE; i++) {
          const value = Math.round(127.5 * (Math.min(1, Math.max(-1, decoded[i])) - images[i]));
          error += value ** 2 / VIEW_SIZE;
        }
        total += 10 * Math.log10(255 ** 2 / error);
      }
    },
  );
  return total / set.length;
}

function ship(file: string): void {
  const statistics = latentStatistics();
  console.log(
    `latents of training pictures: ${statistics.map((s) => `${s.mean.toFixed(2)}±${s.deviation.toFixed(2)}`)}`,
  );
  console.log(
    `PSNR of held-out emoji ${psnr(heldOut).toFixed(2)} dB, of ${trained.length} training pictures ${psnr(trained).toFixed(2)} dB`,
  );
  const weights = foldScale(
    new Map(store.parameters.map(({ name, shape, averages: [ema] }) => [name, { shape, data: ema }])),
    statistics,
  );
  const tensors = [...weights].map(([name, { shape, data }]): [string, HostTensor] => [
    name,
    { shape: [...shape], dtype: 'f16', data: halfFromFloat(Float32Array.from(data)) },
  ]);
  writeSafetensors(file, tensors, {
    [GROUPS_KEY]: String(CODEC.groups),
    steps: options.steps,
    data: 'emoji-datasource-google',
  });
}
