/** repa sample: a checkpoint to a stream of images. */

import { Progress } from '../lib/cli/progress.js';
import { batchSize, DIFFUSION_MODEL, ENGINE, OUT, ROUNDING, SEED, SHARD } from '../lib/cli/shared-options.js';
import { verb } from '../lib/cli/verb.js';
import { choice, flag, integer, number, text } from '../lib/options/option.js';

const description = `Samples images from a checkpoint: noise, integrated along the learned velocity from t = 1 to 0, decoded.

The checkpoint is a folder of train or import, or a file as the official code of REPA, SiT or DiT saves it or as its
weights are published; its architecture is inferred. Latents of 4 channels are taken for those of Stable Diffusion's VAE,
unless --vae names another codec. As their own samplers do, DiT and the original SiT guide 3 channels.

Image number i depends on the seed and on i alone: not on the batch size, the shard, or how many are sampled. The stream
goes to stdout or -o; with --grid or --png it is written only to an explicit -o (- is stdout). Into a shard folder
(-o samples/) it goes in parts: the same command, run again after a crash, goes on behind the last one that was finished.`;

const examples = [
  { why: 'a sheet of 64 pictures to look at', command: 'repa sample --num 64 --grid samples.png' },
  {
    why: "the paper's best setting, measured without touching the disk",
    command:
      'repa sample --mode sde --steps 250 --cfg 1.8 --guidance-high 0.7 | repa fid --ref VIRTUAL_imagenet256_labeled.npz',
  },
  {
    why: 'published weights of DiT, as its own sampler does it',
    command: 'repa sample --ckpt DiT-XL-2-256x256.pt --model DiT-XL/2 --cfg 4 --rounding round --num 8 --grid dit.png',
  },
  {
    why: 'guided by an earlier checkpoint of the same run',
    command: 'repa sample --cfg 2 --guide-ckpt ckpt/step-0050000 --num 64 --grid autoguided.png',
  },
  {
    why: 'a long job that can be killed and run again: one of 16 processes',
    command: 'repa sample --num 50000 --shard 2/16 -o samples/',
  },
];

export const command = verb({
  description,
  examples,
  options: {
    ...DIFFUSION_MODEL,
    num: integer('--num <n>', 'how many images', { min: 1, defaultText: '50000, or 64 with --grid or --png' }),
    labels: text('--labels <plan>', 'random, balanced, or class numbers separated by commas, repeated', {
      default: 'random',
    }),
    mode: choice(
      '--mode <name>',
      'of a SiT the probability flow or SDE, of a DiT DDPM or DDIM',
      ['ode', 'sde', 'ddpm', 'ddim'],
      { defaultText: 'ode, or ddpm for a DiT' },
    ),
    solver: choice('--solver <name>', 'of the ODE', ['euler', 'heun', 'dopri5'], { defaultText: 'euler' }),
    diffusion: choice(
      '--diffusion <form>',
      "the SDE's w(t), named as SiT names them",
      ['linear', 'sigma', 'constant', 'decreasing', 'increasing-decreasing'],
      { defaultText: "linear, which is 2 t, as in REPA's code" },
    ),
    diffusionNorm: number('--diffusion-norm <n>', "what scales the SDE's w(t)", { min: 0, defaultText: '1' }),
    lastStep: choice(
      '--last-step <how>',
      'of the SDE: along its drift (mean), along the velocity, to the posterior mean, or none',
      ['mean', 'euler', 'tweedie', 'none'],
      { defaultText: 'mean' },
    ),
    lastStepSize: number('--last-step-size <t>', 'time of that step', { min: 0.001, max: 0.999, defaultText: '0.04' }),
    timeShift: number('--time-shift <s>', 'move the steps towards the noise: t becomes s t / (1 + (s - 1) t)', {
      min: 0.01,
      max: 100,
      defaultText: 'as in training, else 1, evenly spaced',
    }),
    steps: integer('--steps <n>', 'steps of the sampler', { min: 1, defaultText: '50, of a DiT 250' }),
    atol: number('--atol <x>', 'absolute tolerance of dopri5', { min: 0, defaultText: '1e-6' }),
    rtol: number('--rtol <x>', 'relative tolerance of dopri5', { min: 0, defaultText: '1e-3' }),
    cfg: number('--cfg <w>', 'classifier-free guidance; 1 is none', { min: 0, default: 1 }),
    guidanceLow: number('--guidance-low <t>', 'guide only from this time', { min: 0, max: 1, default: 0 }),
    guidanceHigh: number('--guidance-high <t>', 'guide only up to this time', { min: 0, max: 1, default: 1 }),
    guidanceChannels: integer('--guidance-channels <n>', 'guide only the first n channels', {
      min: 1,
      defaultText: 'all; 3 of DiT and of the original SiT',
    }),
    guideCkpt: text(
      '--guide-ckpt <path>',
      'autoguidance: guide by a weaker checkpoint, in place of the model without label',
    ),
    noise: text('--noise <file>', 'initial noise: an .npy or a stream of latents [N, C, h, w]; sets --num'),
    latents: flag('--latents', 'write latents instead of decoded images'),
    vae: text('--vae <name>', 'decoder', { defaultText: 'the codec that made the training latents' }),
    vaeWeights: text('--vae-weights <file>', "the decoder's weights"),
    rounding: ROUNDING,
    grid: text('--grid <file.png>', 'write a sheet of the images', { writes: true }),
    png: text('--png <folder>', 'write each image as a PNG', { writes: true }),
    seed: SEED,
    batchSize: batchSize(16),
    shard: SHARD,
    out: OUT,
    partSize: integer('--part-size <n>', 'images of a part where the output is a shard folder', {
      min: 1,
      default: 1000,
    }),
    ...ENGINE,
  },
  run: async (options) => {
    const { runSampling } = await import('../lib/sampling/run.js');
    const progress = (total: number) => new Progress('sample', { unit: 'images', total, quiet: options.quiet });
    await runSampling(options, progress);
  },
});
