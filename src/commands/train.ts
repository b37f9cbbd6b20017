/** repa train: cached latents and features to a checkpoint folder. */
import { existsSync } from 'node:fs';
import { DRY_RUN, printEstimate } from '../lib/cli/estimate.js';
import { imageInput } from '../lib/cli/image-input.js';
import { answerFirstSignal, dieOf } from '../lib/cli/interrupt.js';
import { Progress } from '../lib/cli/progress.js';
import { ENGINE, SEED } from '../lib/cli/shared-options.js';
import { outliveReader } from '../lib/cli/standard-output.js';
import { say } from '../lib/cli/terminal.js';
import { verb } from '../lib/cli/verb.js';
import { checkMeasures, type MonitorOptions, WHILE_TRAINING } from '../lib/evaluation/while-training/options.js';
import { text } from '../lib/options/option.js';
import { refuseFor } from '../lib/options/resolve.js';
import { options, pick, prefixed, type Values, valuesByName } from '../lib/options/table.js';
import type { ProcessGroup } from '../lib/parallel/group.js';
import { METHOD_OPTIONS, PRESETS } from '../lib/repa/methods.js';
import { CHECKPOINT_FILE, WEIGHTS } from '../lib/sampling/options.js';
import { DATA } from '../lib/training/data/options.js';
import type { OpenMonitor } from '../lib/training/monitor.js';
import { MODEL, STEPS } from '../lib/training/options.js';
import type { RunPlan } from '../lib/training/plan.js';
import type { TrainOptions } from '../lib/training/train.js';

const description = `Trains a SiT on cached latents with the REPA loss: the mean squared error of the velocity, plus
lambda times the misalignment between the tokens of one early block (through a small perceptron) and the cached features
of a frozen encoder. With --lambda 0 it is a plain SiT, and no features are read. A DiT (--model DiT-XL/2) learns the
noise and its variance at the 1000 steps of DDPM instead of a velocity, and is aligned in the same way.

The follow-ups of REPA are options, and --preset gives the recipe of a paper: see it in full with --print-config. Some
generate what the encoder sees along with the image (its class token, or components of its features), which sample then leaves
out; others let a share of the tokens skip the middle blocks in training, while sampling sends all tokens through all blocks.

Every logged step is one JSON object on stdout, also kept as log.ndjson in the output folder. Checkpoints are complete or
absent, whatever kills the run; running the same command again continues from the newest one and gives the same numbers
as a run that was never interrupted. The first ^C or SIGTERM saves a checkpoint, the second kills. The file run.lock keeps a
second run out of the folder. A loss that explodes ends the run before it harms the weights, and diverged-step-N.json holds
the losses, the gradients by block and the images of that step.

With --init, a run starts from the weights of another run, of an original SiT or of any checkpoint file; its classes, its size
of images or REPA's term may differ. Weights that fit are taken: classes of the same names, or as many of them, and the null
class; the mean without its variance, where the new model has none. Positions are computed for the new grid (learned ones are
resampled). All others are initialised as usual, and what does not fit is left out; everything is named, and kept in config.json.
The run begins at step 0 with a new optimiser, while --resume continues a run with its optimiser and averages.

With --encoder and --images, no features are stored: they are computed from each step's images, as extract-dino does it. The
images are decoded while the step before is computed.

With --eval-every, the moving average is measured during training: pictures from the same noise each time; with --eval-ref the
Frechet distance of samples, as sample and fid compute it from a checkpoint; with --val-latents the losses of held-out images
under fixed noise and times, and what probes read from the aligned block; with --val-feats that block's CKNNA with the features.
Each measure is a line of the log, with the settings that make it comparable; these lines have a field 'evaluation', those of
steps have none. Measuring changes no number of the training.

Under mpirun or srun --mpi=pmix the ranks share each step: --batch-size stays that of the whole step, its images are
divided among the ranks, their gradients summed, and the losses are those of one process, whatever the number of ranks;
only terms that compare the images of a batch with each other see those of one micro-batch. Every machine must see the same
files. A signal to any rank saves a checkpoint; Open MPI's mpirun leaves one second for that after ^C, and more with --mca
odls_base_sigkill_timeout 60. REPA_MPI_LIBRARY names the libmpi if it is not found.`;

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
    why: 'fine-tune published weights on classes of your own',
    command: 'repa train --init sit-xl-2-repa.pt --init-raw --lr 1e-5 --out ckpt-mine',
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

/** What is trained, and how. */
const TRAINING = options({ ...MODEL, ...STEPS, methods: METHOD_OPTIONS });

/** Weights that a run starts from, and which they are. */
const START = options({
  init: text(
    '--init <path>',
    'start from the weights of another run, of a checkpoint file or of a name that was pulled, as far as they fit',
    { conflicts: ['resume'] },
  ),
  initOptions: prefixed(
    'init',
    { ...pick(CHECKPOINT_FILE, 'model', 'heads', 'numClasses', 'key'), ...WEIGHTS },
    { needs: '--init' },
  ),
});

const OPTIONS = options({
  ...DATA,
  ...START,
  ...TRAINING,
  ...WHILE_TRAINING,
  dryRun: DRY_RUN,
  seed: SEED,
  ...ENGINE,
});

export const command = verb({
  description,
  examples,
  options: OPTIONS,
  presetOf: ({ preset }) => (preset ? PRESETS.get(preset) : undefined),
  run: async (options) => {
    checkMeasures(options);
    if (options.printConfig && !existsSync(options.latents)) return printOptions(options);
    if (options.model.startsWith('DiT')) {
      refuseFor(TRAINING, options, 'DiT', "for a SiT, which learns a velocity; a DiT learns the noise of DDPM's steps");
    }
    const { joinGroup, together } = await import('../lib/parallel/group.js');
    const { planRun } = await import('../lib/training/plan.js');
    const { writtenRecord } = await import('../lib/training/record.js');
    const { train } = await import('../lib/training/train.js');
    const { selectBackend } = await import('../lib/engine/index.js');
    const group = await joinGroup();
    let signal: NodeJS.Signals | undefined;
    await together(group, async () => {
      await selectBackend(options); // an encoder is opened by the plan
      const plan = await planRun(options, group, initialWeights(options));
      if (options.printConfig) {
        if (group.rank === 0) process.stdout.write(`${JSON.stringify(writtenRecord(plan.record), null, 2)}\n`);
        return;
      }
      if (options.dryRun) return estimate(plan, options, group);
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
      outliveReader((why) => progress.say(`${why}: the log goes on in ${options.out}/log.ndjson`));
      try {
        await train(plan, options, {
          group,
          say: (line) => progress.say(line),
          print: (line) => progress.print(line),
          shouldStop: () => signal !== undefined,
          onStep: (entry) => progress.advance(1, `loss ${entry.loss.toFixed(4)}`),
          openMonitor: monitorOf(options),
        });
      } finally {
        stopAnswering();
      }
      progress.finish();
    });
    if (signal) dieOf(signal);
  },
});

/** Prints what is known of a run without its data. */
function printOptions({ latents, ...options }: Values<typeof TRAINING> & { latents: string }): void {
  say(`note: ${latents}: not here: what follows from the data (sizes, classes, methods) is left out`);
  process.stdout.write(`${JSON.stringify({ options: valuesByName(TRAINING, options) }, null, 2)}\n`);
}

/** How the weights that the run starts from are opened, if it starts from any. */
function initialWeights({ init, initOptions }: Values<typeof START>) {
  if (init === undefined) return undefined;
  return async () => {
    const { openInitialWeights } = await import('../lib/exchange/initial-weights.js');
    return openInitialWeights(init, initOptions);
  };
}

/** Takes a few steps of a run that writes nothing, and tells what all of them take. */
async function estimate(plan: RunPlan, options: TrainOptions, group: ProcessGroup): Promise<void> {
  const { MEASURED_STEPS } = await import('../lib/training/pace.js');
  const { rehearse } = await import('../lib/training/rehearsal.js');
  const { steps, seconds, bytes } = await rehearse(plan, options, group);
  if (group.rank > 0) return;
  const saves = Math.min(options.keep + 1, Math.ceil(steps / options.saveEvery));
  printEstimate({
    unit: 'steps',
    total: steps,
    seconds,
    measured: `${Math.min(MEASURED_STEPS, Math.max(1, steps - 1))} steps of ${plan.record.training.batchSize} images`,
    bytes: saves * bytes,
    output: `${saves} checkpoint${saves === 1 ? '' : 's'} of ${bytes} bytes at a time`,
    out: options.out,
  });
}

/** How the run is measured on the way, if that was asked for. */
function monitorOf(options: MonitorOptions & { quiet?: true }): OpenMonitor | undefined {
  const { evalEvery, quiet } = options;
  if (evalEvery === undefined) return undefined;
  return async (run) => {
    const { openMonitor } = await import('../lib/evaluation/while-training/monitor.js');
    return openMonitor({ ...options, evalEvery }, run, {
      open: (path) => imageInput(path, undefined, {}),
      progress: (label, total) => new Progress(label, { unit: 'images', total, quiet }),
    });
  };
}
