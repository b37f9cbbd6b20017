/** The options by which `repa train` varies the network and what it learns: the follow-ups of REPA. */
import { type Command, InvalidArgumentError, Option, type OptionValues } from '@commander-js/extra-typings';
import { blockPair, decimal, integer } from './parse.js';

function timeShift(value: string): number | 'auto' {
  if (value === 'auto') return value;
  try {
    return decimal(0.01, 100)(value);
  } catch {
    throw new InvalidArgumentError('It takes a number from 0.01 to 100, or auto.');
  }
}

/** Adds them to a verb. */
export const withVariantOptions = <Args extends unknown[], Given extends OptionValues, Global extends OptionValues>(
  command: Command<Args, Given, Global>,
) =>
  command
    .option('--qk-norm', 'normalise queries and keys')
    .addOption(
      new Option('--norm <kind>', 'layer norm, or RMS norm with a scale (LightningDiT)')
        .choices(['layer', 'rms'] as const)
        .default('layer' as const),
    )
    .addOption(
      new Option('--feed-forward <kind>', 'a perceptron with GELU, or a gated one (LightningDiT)')
        .choices(['gelu', 'swiglu'] as const)
        .default('gelu' as const),
    )
    .option('--rotary', 'turn queries and keys with their position on the grid (LightningDiT)')
    .addOption(
      new Option('--projector <name>', 'a perceptron on each token, or a 3 x 3 convolution of their grid (iREPA)')
        .choices(['mlp', 'conv'] as const)
        .default('mlp' as const),
    )
    .option('--projector-dim <n>', 'width of the perceptron', integer(1), 2048)
    .option(
      '--spatial-norm <gamma>',
      'features lose gamma of their mean over the image, then are divided by their deviation (iREPA: 1)',
      decimal(0),
    )
    .option('--manifold <w>', 'weight, times lambda, of the similarities among tokens (U-REPA: 3)', decimal(0), 0)
    .option('--align-until <step>', 'features are followed up to this step only (HASTE)', integer(1))
    .option(
      '--class-token <w>',
      "weight of generating the encoder's class token with the image; feats need their --cls (REG: 0.03)",
      decimal(0),
      0,
    )
    .option(
      '--representation <w>',
      'weight of generating components of the features with the image (ReDi: 1)',
      decimal(0),
      0,
    )
    .option('--representation-channels <n>', 'how many components (default: 8)', integer(1))
    .option('--direction <w>', 'weight of the cosine between velocities (LightningDiT: 1)', decimal(0), 0)
    .option(
      '--contrastive <w>',
      "weight of the distance to other images' velocities, which is made larger (Delta-FM: 0.05)",
      decimal(0),
      0,
    )
    .option('--layer-sync <w>', 'weight of a block following a later one (LayerSync: 0.2)', decimal(0), 0)
    .option('--layer-sync-blocks <pair>', 'which follows which, such as 8,16', blockPair)
    .option('--dispersive <w>', "weight of images' hidden states repelling each other (Dispersive: 0.5)", decimal(0), 0)
    .option('--dispersive-block <n>', 'at which block (default: a quarter of them)', integer(1))
    .option(
      '--sra <w>',
      'weight of a block following a later one of the moving average at less noise (SRA: 0.2)',
      decimal(0),
      0,
    )
    .option('--sra-blocks <pair>', 'which follows which, such as 8,20', blockPair)
    .option('--route <share>', 'share of the tokens that skip the middle blocks (TREAD: 0.5)', decimal(0, 0.99), 0)
    .option('--middle-blocks <pair>', 'first and last of them, such as 3,24', blockPair)
    .option('--fusion', 'join what comes out of the middle blocks with what went in (SPRINT, with --route 0.75)')
    .option('--path-drop <p>', 'chance that they are left out for an image (SPRINT: 0.05)', decimal(0, 1), 0)
    .option(
      '--time-shift <s>',
      'move the times towards the noise: t becomes s t / (1 + (s - 1) t); auto is by the size of the latents (SR-DiT)',
      timeShift,
      1,
    );
