/** repa train: cached latents and features to a checkpoint folder. */
import { Option } from '@commander-js/extra-typings';
import { imageInput } from '../lib/cli/image-input.js';
import { answerFirstSignal } from '../lib/cli/interrupt.js';
import { withMonitorOptions } from '../lib/cli/monitor-options.js';
import { decimal, integer, listOf, text } from '../lib/cli/parse.js';
import { Progress } from '../lib/cli/progress.js';
import { withVariantOptions } from '../lib/cli/variant-options.js';
import { backendOption, seedOption, threadsOption, verb } from '../lib/cli/verb.js';
import { checkMonitorOptions, type MonitorOptions } from '../lib/monitoring/options.js';
import type { OpenMonitor } from '../lib/training/monitor.js';
import { PRESET_NAMES, withPreset } from '../lib/training/presets.js';

const description = `Trains a SiT on cached latents with the REPA loss: the mean squared error of the velocity, plus
lambda times the misalignment between the tokens of one early block (through a small perceptron) and the cached features
of a frozen encoder. With --lambda 0 it is a plain SiT, and no features are read. A DiT (--model DiT-XL/2) learns the
noise and its variance at the 1000 steps of DDPM instead of a velocity, and is aligned in the same way.

The follow-ups of REPA are options, and --preset gives the recipe of a paper: see it in full with --print-config. Of these, REG
and ReDi generate what the encoder sees along with the image (its class token, or components of its features), which sample
then leaves out; TREAD and SPRINT let a share of the tokens skip the middle blocks in training, and all of them see all
blocks in sampling.

Every logged step is one JSON object on stdout, also kept as log.ndjson in the output folder. Checkpoints are complete or
absent, whatever kills the run; running the same command again continues from the newest one and gives the same numbers
as a run that was never interrupted. The first ^C or SIGTERM saves a checkpoint, the second kills. A folder takes one run at a
time, told by run.lock in it. A loss that explodes ends the run before it harms the weights, and diverged-step-N.json tells
the losses, the gradients by block and the images of that step.

With --encoder and --images, no features are stored: they are computed of each step's images, as extract-dino does it, which
are decoded while the step before is computed.

With --eval-every, the moving average is measured on the way, each measure one line of the log with what makes it
comparable: pictures from the same noise each time; with --eval-ref the Frechet distance of samples, as sample and fid give it
of a checkpoint; with --val-latents the losses of held-out images under fixed noise and times, what probes read from the aligned
block, and with --val-feats its CKNNA with the features. It changes no number of the training. The steps' own lines
have no field 'evaluation', these have.

Under mpirun or srun --mpi=pmix the ranks share each step: --batch-size stays that of the whole step, its images are
divided among the ranks, their gradients summed, and the losses are those of one process, whatever the number of ranks;
only terms that compare the images of a batch with each other (NT-Xent, contrastive, dispersive) see those of one
micro-batch. Every machine must see the same files. A signal to any rank saves a checkpoint; Open MPI's mpirun leaves one
second for that after ^C, and more with --mca odls_base_sigkill_timeout 60. REPA_MPI_LIBRARY names the libmpi if it is not
found.`;

const examples = [
  { why: 'the recipe of the paper on ./latents and ./feats', command: 'repa train --lambda 0.5 --align-depth 8' },
  { why: 'a plain SiT for comparison', command: 'repa train --lambda 0 --out ckpt-plain' },
  { why: 'REG, on features with class tokens', command: 'repa train --preset reg --out ckpt-reg' },
  {
    why: 'features computed on the way, for a set whose features fit no disk',
    command: 'repa train --encoder dinov2-vit-b --images imagenet/train',
  },
  {
    why: 'measured every 5000 steps, in pictures and numbers',
    command:
      'repa train --eval-every 5000 --eval-ref imgs-val/ --val-latents latents-val --val-feats feats-val --eval-cfg 1.5',
  },
  {
    why: 'on four machines of a cluster, one process each',
    command: 'srun -N 4 --ntasks-per-node 1 --mpi=pmix repa train --batch-size 256',
  },
  {
    why: 'a small model for small images, watched with jq',
    command: 'repa train --model SiT-S/4 --depth 8 --width 192 --steps 2000 --batch-size 64 --lr 1e-3 | jq .loss',
  },
];

export const command = () =>
  withMonitorOptions(withVariantOptions(options()))
    .addOption(seedOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .action(async (given, command) => {
      const options = withPreset(given, (name) => {
        return !['default', undefined].includes(command.getOptionValueSource(name));
      });
      checkMonitorOptions(options);
      const { joinGroup, together } = await import('../lib/parallel/group.js');
      const { planRun } = await import('../lib/training/plan.js');
      const { runTraining } = await import('../lib/training/run.js');
      const { selectBackend } = await import('../lib/engine/index.js');
      const group = await joinGroup();
      let signal: NodeJS.Signals | undefined;
      await together(group, async () => {
        await selectBackend(options); // an encoder is opened by the plan
        const plan = await planRun(options, group);
        if (options.printConfig) {
          if (group.rank === 0) process.stdout.write(`${JSON.stringify(plan.record, null, 2)}\n`);
          return;
        }
        const progress = new Progress('train', {
          unit: 'steps',
          total: options.steps,
          done: plan.record.step,
          quiet: options.quiet,
        });
        const stopAnswering = answerFirstSignal((received) => {
          signal = received;
          progress.say('stopping after this step to save a checkpoint; once more to kill');
        });
        try {
          await runTraining(plan, group, {
            ...options,
            say: (line) => progress.say(line),
            shouldStop: () => signal !== undefined,
            onStep: (entry) => progress.advance(1, `loss ${entry.loss.toFixed(4)}`),
            openMonitor: monitorOf(options),
          });
        } finally {
          stopAnswering();
        }
        progress.finish();
      });
      if (signal) {
        process.removeAllListeners(signal);
        process.kill(process.pid, signal);
      }
    });

/** What is trained, and how. */
const options = () =>
  verb('train', {
    summary: 'train a SiT or DiT on cached latents, aligned with cached features',
    description,
    examples,
  })
    .option('--latents <path>', 'latents made by encode-vae', 'latents')
    .option('--feats <paths>', 'features made by extract-dino; several encoders separated by commas', listOf(text), [
      'feats',
    ])
    .addOption(
      new Option('--encoder <name>', 'in place of --feats: compute features on the way, with this network').conflicts(
        'feats',
      ),
    )
    .option('--images <path>', 'the images that the latents were made of: a folder, a .tar or a stream of images')
    .option('--encoder-weights <file>', "the encoder's weights")
    .option('--encoder-size <n>', 'side of the square that is cropped for it (default: its own)', integer(1))
    .option('--encoder-output <name>', 'of an ONNX file: the output to take')
    .addOption(
      new Option('--encoder-normalise <how>', 'of an ONNX file: what it takes (default: imagenet)').choices([
        'imagenet',
        'clip',
        'signed',
        'unit',
      ] as const),
    )
    .option('--out <folder>', 'where checkpoints and the log go', 'ckpt')
    .option('--model <name>', 'SiT-{S,B,L,XL}/{2,4,8}, or DiT- of the same sizes', 'SiT-XL/2')
    .addOption(new Option('--preset <name>', 'recipe of a paper, for options that are not given').choices(PRESET_NAMES))
    .option('--depth <n>', 'blocks, if not those of the model', integer(1))
    .option('--width <n>', 'width of a token, if not that of the model', integer(4))
    .option('--heads <n>', 'attention heads, if not those of the model', integer(1))
    .option('--patch-size <n>', 'side of a patch, if not that of the model', integer(1))
    .option('--num-classes <n>', 'classes (default: as the labels need)', integer(1))
    .option('--lambda <w>', 'weight of the projection loss', decimal(0), 0.5)
    .addOption(
      new Option('--projection-loss <name>', 'minus the cosine similarity, or telling each target from the others')
        .choices(['cosine', 'nt-xent'] as const)
        .default('cosine' as const),
    )
    .option(
      '--align-depth <n>',
      'block whose tokens are aligned, 1 is the first (default: 8, or 4 for S and B)',
      integer(1),
    )
    .option('--steps <n>', 'optimiser steps in all', integer(1), 400_000)
    .option('--batch-size <n>', 'images of one step', integer(1), 256)
    .option(
      '--micro-batch <n>',
      'images computed at a time; a step accumulates their gradients (default: all)',
      integer(1),
    )
    .option(
      '--checkpoint-blocks <n>',
      'blocks computed again in the backward pass instead of kept in memory: less memory, more time, the same numbers',
      integer(0),
      0,
    )
    .addOption(
      new Option(
        '--optimizer <name>',
        'AdamW, or Muon for the matrices of blocks and projectors and AdamW for the rest',
      )
        .choices(['adamw', 'muon'] as const)
        .default('adamw' as const),
    )
    .option('--lr <rate>', 'learning rate', decimal(0), 1e-4)
    .addOption(
      new Option('--lr-schedule <name>', 'constant, or along a cosine to 0 at --steps')
        .choices(['constant', 'cosine'] as const)
        .default('constant' as const),
    )
    .option('--warmup <steps>', 'steps over which the learning rate grows from 0', integer(0), 0)
    .option('--beta2 <b>', "AdamW's second decay", decimal(0, 1), 0.999)
    .option('--weight-decay <w>', "AdamW's weight decay", decimal(0), 0)
    .option('--clip <norm>', 'gradients of a larger norm are scaled down to it', decimal(0), 1)
    .option(
      '--ema <decays>',
      'decay of the moving average of the weights; of several, separated by commas, sample takes the first',
      listOf(decimal(0, 1)),
      [0.9999],
    )
    .option('--label-dropout <p>', 'chance that a label is replaced by the null class', decimal(0, 1), 0.1)
    .addOption(
      new Option('--path <name>', 'path between data and noise')
        .choices(['linear', 'cosine'] as const)
        .default('linear' as const),
    )
    .addOption(
      new Option('--time <name>', 'how times are drawn')
        .choices(['uniform', 'lognormal'] as const)
        .default('uniform' as const),
    )
    .option('--resume', 'continue the run in --out although settings changed')
    .option('--save-every <steps>', 'steps between checkpoints', integer(1), 10_000)
    .option(
      '--loss-limit <x>',
      'a larger loss, or one that is not finite, ends the run with a report',
      decimal(0),
      1000,
    )
    .option('--keep <n>', 'newest checkpoints kept', integer(1), 2)
    .option('--log-every <steps>', 'steps between lines of the log', integer(1), 10)
    .option('--print-config', 'print the whole configuration as JSON and stop');

/** How the run is measured on the way, if that was asked for. */
function monitorOf(options: MonitorOptions & { quiet?: true }): OpenMonitor | undefined {
  const { evalEvery, quiet } = options;
  if (evalEvery === undefined) return undefined;
  return async (run) => {
    const { openMonitor } = await import('../lib/monitoring/monitor.js');
    return openMonitor({ ...options, evalEvery }, run, {
      open: (path) => imageInput(path, undefined, {}),
      progress: (label, total) => new Progress(label, { unit: 'images', total, quiet }),
    });
  };
}
