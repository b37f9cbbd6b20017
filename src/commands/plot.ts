/** repa plot: training logs to a picture of their curves. */

import path from 'node:path';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { writeFileAtomic, writeFully } from '../lib/files/atomic-file.js';
import { integer, list, text } from '../lib/options/option.js';

const description = `Draws the curves of one or more training logs, one panel for each field and one line for each run.

A log is the NDJSON that train prints and keeps as log.ndjson in its checkpoint folder; a folder means that file. Any
number in it is a field, also those that train --eval-every adds: val_velocity_loss, cknna, linear_accuracy, knn_accuracy,
FID, or the like of FD(emoji-vit) in another network.

The picture is a PNG, or an SVG when the output's name ends in .svg.`;

const examples = [
  {
    why: 'compare a run with REPA and one without',
    command: 'repa plot ckpt ckpt-plain --smooth 20 -o loss.png',
  },
  {
    why: 'what was measured on the way',
    command: "repa plot ckpt ckpt-plain --field 'val_velocity_loss,cknna,FD(emoji-vit)' -o quality.png",
  },
];

export const command = verb({
  description,
  examples,
  operands: [operand('<logs...>', 'log files or checkpoint folders')],
  options: {
    out: text('-o, --out <file>', 'the picture to write: .png or .svg', { required: true, writes: true }),
    field: list('--field <names>', 'fields to draw', String, { default: ['velocity_loss'] }),
    smooth: integer('--smooth <n>', 'average over this many neighbouring points', { min: 1, default: 1 }),
  },
  run: async (logs, options) => {
    const format = path.extname(options.out);
    if (format !== '.png' && format !== '.svg') throw new UsageError(`-o ${options.out}: draws only .png and .svg`);
    const { drawCurves, readLog, smooth } = await import('../lib/cli/training-plot.js');
    const curves = await Promise.all(logs.map((log) => readLog(logFile(log), runName(log), options.field)));
    const svg = Buffer.from(drawCurves(smooth(curves.flat(), options.smooth)));
    const { default: sharp } = await import('sharp');
    const picture = format === '.svg' ? svg : await sharp(svg, { density: 144 }).png().toBuffer();
    writeFileAtomic(options.out, (fd) => writeFully(fd, picture));
  },
});

const logFile = (log: string): string => (path.extname(log) === '' ? path.join(log, 'log.ndjson') : log);

const runName = (log: string): string =>
  path.basename(log) === 'log.ndjson' ? path.basename(path.dirname(log)) : path.parse(log).name;
