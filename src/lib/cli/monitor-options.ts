/** The options by which `repa train` measures a run on the way. */
import { type Command, Option, type OptionValues } from '@commander-js/extra-typings';
import { decimal, integer, listOf, text } from './parse.js';

/** Adds them to a verb. */
export const withMonitorOptions = <Args extends unknown[], Given extends OptionValues, Global extends OptionValues>(
  command: Command<Args, Given, Global>,
) =>
  command
    .option('--eval-every <steps>', 'measure the moving average at every so many steps', integer(1))
    .option('--eval-grid <n>', 'pictures, from the same noise each time, in --out/samples (default: 16)', integer(0))
    .option('--eval-ref <path>', 'reference that samples are compared with: images, or an .npz of statistics')
    .option('--eval-num <n>', 'how many samples are compared (default: 5000)', integer(2))
    .option('--eval-net <name>', 'network whose features are compared, as of repa fid (default: inception)')
    .option('--eval-net-weights <file>', "that network's weights")
    .option('--eval-net-output <name>', 'of an ONNX file: the output to take')
    .addOption(
      new Option('--eval-net-normalise <how>', 'of an ONNX file: what it takes (default: imagenet)').choices([
        'imagenet',
        'clip',
        'signed',
        'unit',
      ] as const),
    )
    .option('--eval-vae-weights <file>', "decoder's weights (default: those of the codec that made the latents)")
    .addOption(
      new Option('--eval-mode <name>', 'how to sample (default: ode, or ddpm for a DiT)').choices([
        'ode',
        'sde',
        'ddpm',
        'ddim',
      ] as const),
    )
    .option('--eval-steps <n>', 'steps of the sampler (default: 50, of a DiT 250)', integer(1))
    .option('--eval-cfg <w>', 'classifier-free guidance (default: 1, none)', decimal(0))
    .option('--eval-batch-size <n>', 'images computed at a time while measuring (default: 16)', integer(1))
    .option('--val-latents <path>', 'held-out latents, for the validation loss and a probe of the aligned block')
    .option('--val-feats <paths>', 'features of the same images, for their losses and CKNNA', listOf(text))
    .option('--val-num <n>', 'held-out images that are used, spread over all (default: 1024)', integer(20));
