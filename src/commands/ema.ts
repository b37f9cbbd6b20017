/** repa ema: averages of the weights that were kept while training, to an average of any width. */
import { Progress } from '../lib/cli/progress.js';
import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { WIDEST_SIGMA } from '../lib/optim/average.js';
import { integer, number, text } from '../lib/options/option.js';

const description = `Makes a moving average of the weights after the training, of whatever width is best: which one that is, samples tell
only then, and it matters as much as the sampler does (EDM2, arXiv 2312.02696).

repa train --ema 0.9999,sigma:0.05,sigma:0.1 tracks, besides the first, two averages along powers of the time, whose widths are 5 % and
10 % of the time trained, and keeps them in averages/ of the training folder with every checkpoint, whether that is kept or not:
4 bytes a parameter and checkpoint (--average-dtype f32: 8). A mixture of them is the average of another width to within what stderr
tells; the more of them there are, the closer.

The result is a checkpoint folder that holds the average alone: sample, extract-hidden and export take it.`;

const examples = [
  {
    why: 'the average of width 0.12, and samples of it',
    command: 'repa ema --sigma-rel 0.12 -o ema-12 && repa sample --ckpt ema-12 > samples',
  },
  { why: 'as it was at an earlier step', command: 'repa ema ckpt --sigma-rel 0.08 --step 300000 -o ema-08' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[folder]', 'a training folder; default ckpt')],
  options: {
    sigmaRel: number('--sigma-rel <s>', 'the width of the average, in parts of the time trained', {
      min: 0.001,
      max: WIDEST_SIGMA,
      required: true,
    }),
    step: integer('--step <n>', 'the step that it is of, one that averages were kept of', {
      min: 1,
      defaultText: 'the newest',
    }),
    out: text('-o, --out <folder>', 'where the checkpoint goes', { required: true, writes: 'folder' }),
  },
  run: async (folder = 'ckpt', options) => {
    const { writePostHocAverage } = await import('../lib/training/post-hoc.js');
    const progress = new Progress('ema', { unit: 'tensors', quiet: options.quiet });
    const made = writePostHocAverage(folder, { ...options, onTensor: () => progress.advance() });
    progress.finish();
    if (options.quiet) return;
    say(
      `${made.folder}: ${made.mixed} averages mixed; its profile is ${percent(made.misfit)} off that of ${options.sigmaRel}`,
    );
  },
});

/** Three figures, in percent. */
const percent = (share: number): string => `${Number((100 * share).toPrecision(3))} %`;
