/** repa sample: a checkpoint to a stream of images. */
import { Option } from '@commander-js/extra-typings';
import { withModelOptions } from '../lib/cli/model-options.js';
import { decimal, integer } from '../lib/cli/parse.js';
import { Progress } from '../lib/cli/progress.js';
import {
  backendOption,
  batchSizeOption,
  outputOption,
  seedOption,
  shardOption,
  threadsOption,
  verb,
} from '../lib/cli/verb.js';

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

export const command = () =>
  withModelOptions(verb('sample', { summary: 'sample images from a checkpoint', description, examples }))
    .option('--num <n>', 'how many images (default: 50000, or 64 with --grid or --png)', integer(1))
    .option('--labels <plan>', 'random, balanced, or class numbers separated by commas, repeated', 'random')
    .addOption(
      new Option('--mode <name>', 'of a SiT the probability flow or SDE, of a DiT DDPM or DDIM')
        .choices(['ode', 'sde', 'ddpm', 'ddim'] as const)
        .default(undefined, 'ode, or ddpm for a DiT'),
    )
    .addOption(
      new Option('--solver <name>', 'of the ODE (default: euler)').choices(['euler', 'heun', 'dopri5'] as const),
    )
    .addOption(
      new Option(
        '--diffusion <form>',
        "the SDE's w(t), named as SiT names them (default: linear, which is 2 t, as in REPA's code)",
      ).choices(['linear', 'sigma', 'constant', 'decreasing', 'increasing-decreasing'] as const),
    )
    .option('--diffusion-norm <n>', "what scales the SDE's w(t) (default: 1)", decimal(0))
    .addOption(
      new Option(
        '--last-step <how>',
        'of the SDE: along its drift (default: mean), along the velocity, to the posterior mean, or none',
      ).choices(['mean', 'euler', 'tweedie', 'none'] as const),
    )
    .option('--last-step-size <t>', 'time of that step (default: 0.04)', decimal(0.001, 0.999))
    .option(
      '--time-shift <s>',
      'move the steps towards the noise: t becomes s t / (1 + (s - 1) t) (default: as in training, else 1, evenly spaced)',
      decimal(0.01, 100),
    )
    .option('--steps <n>', 'steps of the sampler (default: 50, of a DiT 250)', integer(1))
    .option('--atol <x>', 'absolute tolerance of dopri5 (default: 1e-6)', decimal(0))
    .option('--rtol <x>', 'relative tolerance of dopri5 (default: 1e-3)', decimal(0))
    .option('--cfg <w>', 'classifier-free guidance; 1 is none', decimal(0), 1)
    .option('--guidance-low <t>', 'guide only from this time', decimal(0, 1), 0)
    .option('--guidance-high <t>', 'guide only up to this time', decimal(0, 1), 1)
    .option(
      '--guidance-channels <n>',
      'guide only the first n channels (default: all; 3 of DiT and of the original SiT)',
      integer(1),
    )
    .option('--guide-ckpt <path>', 'autoguidance: guide by a weaker checkpoint, in place of the model without label')
    .option('--noise <file>', 'initial noise: an .npy or a stream of latents [N, C, h, w]; sets --num')
    .option('--latents', 'write latents instead of decoded images')
    .option('--vae <name>', 'decoder (default: the codec that made the training latents)')
    .option('--vae-weights <file>', "the decoder's weights")
    .addOption(
      new Option('--rounding <how>', "pixels to bytes: as REPA's sampler, or as SiT's and DiT's")
        .choices(['truncate', 'round'] as const)
        .default('truncate' as const),
    )
    .option('--grid <file.png>', 'write a sheet of the images')
    .option('--png <folder>', 'write each image as a PNG')
    .addOption(seedOption())
    .addOption(batchSizeOption(16))
    .addOption(shardOption())
    .addOption(outputOption())
    .option('--part-size <n>', 'images of a part where the output is a shard folder', integer(1), 1000)
    .addOption(backendOption())
    .addOption(threadsOption())
    .action(async (options) => {
      const { runSampling } = await import('../lib/sampling/run.js');
      const progress = (total: number) => new Progress('sample', { unit: 'images', total, quiet: options.quiet });
      await runSampling(options, progress);
    });
