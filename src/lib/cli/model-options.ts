/** The options of verbs that take a diffusion model: where it is, what its file does not tell, and which of its weights. */
import { type Command, Option, type OptionValues } from '@commander-js/extra-typings';
import { decimal, integer } from './parse.js';

/** Adds what a file of the official code may leave open. */
export const withFileOptions = <Args extends unknown[], Given extends OptionValues, Global extends OptionValues>(
  command: Command<Args, Given, Global>,
) =>
  command
    .option(
      '--model <name>',
      'what a checkpoint file holds, where its tensors do not tell: SiT-XL/2, DiT-XL/2, SiT, DiT',
    )
    .option(
      '--heads <n>',
      'attention heads of a checkpoint file (default: those of the published model of its width)',
      integer(1),
    )
    .addOption(
      new Option(
        '--path <name>',
        'path that a checkpoint file was trained on (default: as it says, or linear)',
      ).choices(['linear', 'cosine'] as const),
    );

/** Adds all of them. */
export const withModelOptions = <Args extends unknown[], Given extends OptionValues, Global extends OptionValues>(
  command: Command<Args, Given, Global>,
) =>
  withFileOptions(
    command.option(
      '--ckpt <path>',
      'a training folder, one checkpoint in it, a file of the official code (.pt, .safetensors), or a name that was pulled',
      'ckpt',
    ),
  )
    .addOption(new Option('--raw', 'the weights themselves, not their moving average').conflicts('ema'))
    .option('--ema <decay>', 'the moving average of this decay (default: the first that was trained)', decimal(0, 1));
