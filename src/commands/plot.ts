/** repa plot: training logs to a picture of their curves. */

import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { writeFileAtomic } from '../lib/files/atomic-file.js';
import { missingInput } from '../lib/files/missing.js';
import { choice, flag, integer, list, number, text, ValueProblem } from '../lib/options/option.js';
import type { Axis, Point, RunSource } from '../lib/plots/run-points.js';

const description = `Draws the curves of one or more training logs, one panel for each field and one line for each run.

A log is the NDJSON that train prints and keeps as log.ndjson in its checkpoint folder; a folder means that file. Any
number in it is a field, also those that train --eval-every adds: val_velocity_loss, cknna, linear_accuracy, knn_accuracy,
FID, or the like of FD(emoji-vit) in another network.

--x seconds runs along the time of training, without what was measured on the way; --x images along the images seen.

--speed-up names the run that the others are compared with: a line is drawn at its last value, and for each other run to
where it was there first. How many times sooner that was is drawn and printed; points between measures are taken from the
straight line between them.

--reach prints where each run first has a value, such as FID 2, and in which epoch where its checkpoint tells of how many images.

Numbers that --eval-every measured in different ways (another number of samples, sampler, network, reference or held-out set) are
refused, with what differs; --mixed draws them all the same.

--bands takes runs whose names differ in the number at their end (repa-1, repa-2) as one: their mean, with the range.

--film draws no curves but the pictures that --eval-every kept: a row for each run, a column for each step, from the same
noise.

--by-block takes, in place of logs, files of what cknna --json or probe --json print of the blocks of a model (columns
such as hidden.b4.t0.5): curves along the blocks, one for each file and time.

The picture is a PNG, or an SVG when the output's name ends in .svg, which is dark on dark pages.`;

const examples = [
  {
    why: 'compare a run with REPA and one without',
    command: 'repa plot ckpt ckpt-plain --smooth 20 -o loss.png',
  },
  {
    why: 'what was measured on the way',
    command: "repa plot ckpt ckpt-plain --field 'val_velocity_loss,cknna,FD(emoji-vit)' -o quality.png",
  },
  {
    why: 'how much sooner REPA is as good',
    command: "repa plot ckpt ckpt-plain --field 'FD(emoji-vit)' --log y --speed-up ckpt-plain -o speed.png",
  },
  { why: 'the same pictures at several steps', command: 'repa plot ckpt ckpt-plain --film -o film.png' },
];

const AXIS_TITLES: Readonly<Record<Axis, string>> = {
  step: 'steps of training',
  seconds: 'seconds of training',
  images: 'images seen',
};

export const command = verb({
  description,
  examples,
  operands: [operand('<logs...>', 'log files or checkpoint folders')],
  options: {
    out: text('-o, --out <file>', 'the picture to write: .png or .svg', { required: true, writes: 'file' }),
    field: list('--field <names>', 'fields to draw', String, { default: ['velocity_loss'] }),
    x: choice('--x <axis>', 'what curves run along', ['step', 'seconds', 'images'], { default: 'step' }),
    log: list('--log <axes>', 'logarithmic axes: x, y or x,y', axisName, { default: [] }),
    smooth: integer('--smooth <n>', 'average over this many neighbouring points', { min: 1, default: 1 }),
    bands: flag('--bands', 'runs that differ in the number at the end of their name as one, with their range'),
    speedUp: text('--speed-up <run>', 'mark where others reach the last value of this run'),
    reach: number('--reach <value>', 'tell where each run first has this value'),
    mixed: flag('--mixed', 'also numbers that were not measured alike'),
    film: flag('--film', 'the pictures of --eval-every, in place of curves', { conflicts: ['byBlock'] }),
    byBlock: flag('--by-block', 'curves along the blocks of a model, of results of cknna and probe'),
  },
  run: async (logs, options) => {
    const format = path.extname(options.out);
    if (format !== '.png' && format !== '.svg') throw new UsageError(`-o ${options.out}: draws only .png and .svg`);
    const svg = Buffer.from(
      options.film ? await film(logs) : options.byBlock ? await blocks(logs, options.log) : await curves(logs, options),
    );
    const { default: sharp } = await import('sharp');
    const picture = format === '.svg' ? svg : await sharp(svg, { density: 144 }).png().toBuffer();
    writeFileAtomic(options.out, picture);
  },
});

function axisName(value: string): 'x' | 'y' {
  if (value === 'x' || value === 'y') return value;
  throw new ValueProblem('The axes are x and y.');
}

interface CurveOptions {
  field: readonly string[];
  x: Axis;
  log: readonly ('x' | 'y')[];
  smooth: number;
  bands?: true | undefined;
  speedUp?: string | undefined;
  reach?: number | undefined;
  mixed?: true | undefined;
  quiet?: boolean;
}

async function curves(logs: readonly string[], options: CurveOptions): Promise<string> {
  const { bands, curvesOf, readEntries, readPoints, smooth, withoutSeed } = await import('../lib/plots/run-points.js');
  const { drawPanels, showFactor } = await import('../lib/plots/draw.js');
  const { speedUps } = await import('../lib/plots/speed-up.js');
  const { checkAlike } = await import('../lib/runs/comparison.js');
  const runs = await Promise.all(
    logs.map(async (log): Promise<RunSource> => {
      const path = logFile(log);
      const batchSize = options.x === 'images' ? (await recordOf(path)).training.batchSize : undefined;
      return { path, name: runName(log), lines: readEntries(path), batchSize };
    }),
  );
  if (!options.mixed) checkAlike(runs, options.field);
  const read = runs.flatMap((run) => readPoints(run, options.field, options.x));
  if (options.reach !== undefined && !options.quiet) await tellReach(runs, options.field, options.reach);
  const measured = smooth(read, options.smooth);
  const short = options.smooth > 1 && curvesOf(read).find((curve) => curve.length <= options.smooth);
  if (short && !options.quiet) {
    const [{ run, field }] = short;
    say(`note: ${run} has ${short.length} points of ${field}: --smooth ${options.smooth} makes about one value of all`);
  }
  const points: Point[] = options.bands ? bands(measured) : measured;
  const reference = options.speedUp === undefined ? undefined : runName(options.speedUp);
  const named = reference !== undefined && options.bands ? withoutSeed(reference) : reference;
  if (named !== undefined && !points.some(({ run }) => run === named)) {
    throw new UsageError(`--speed-up ${options.speedUp}: none of the runs`);
  }
  const found = named === undefined ? [] : speedUps(curvesOf(points), named);
  for (const { field, run, target, x, factor, referenceX } of found) {
    if (options.quiet) break;
    const level = `${field} ${Number(target.toPrecision(4))}, which ${named} has at ${Math.round(referenceX)}`;
    const told = factor === undefined ? 'is not reached' : `at ${Math.round(x!)}: ${showFactor(factor)} sooner`;
    say(`${run}: ${level}, ${told}`);
  }
  return drawPanels(
    options.field.map((field) => ({
      title: field,
      points: points.filter((point) => point.field === field).map(({ run, ...point }) => ({ ...point, curve: run })),
      speedUps: found.filter((each) => each.field === field),
    })),
    { xTitle: AXIS_TITLES[options.x], log: new Set(options.log) },
  );
}

async function blocks(files: readonly string[], log: readonly ('x' | 'y')[]): Promise<string> {
  const { readBlocks } = await import('../lib/plots/block-points.js');
  const { drawPanels } = await import('../lib/plots/draw.js');
  const points = files.flatMap((file) => readBlocks(file));
  const metrics = [...new Set(points.map(({ metric }) => metric))];
  return drawPanels(
    metrics.map((metric) => ({ title: metric, points: points.filter((point) => point.metric === metric) })),
    { xTitle: 'block', counted: true, log: new Set(log) },
  );
}

async function film(logs: readonly string[]): Promise<string> {
  const { drawFilmStrip, stripOf } = await import('../lib/plots/film-strip.js');
  const { readEntries } = await import('../lib/plots/run-points.js');
  const strips = logs.map((log) => {
    const file = logFile(log);
    return stripOf(runName(log), path.dirname(file), readEntries(file));
  });
  return drawFilmStrip(strips);
}

/** Says at which step, and in which epoch, each run first has a value. */
async function tellReach(runs: readonly RunSource[], fields: readonly string[], target: number): Promise<void> {
  const { curvesOf, readPoints } = await import('../lib/plots/run-points.js');
  const { reachesOf } = await import('../lib/plots/speed-up.js');
  for (const source of runs) {
    for (const { field, run, x } of reachesOf(curvesOf(readPoints(source, fields, 'step')), target)) {
      const epoch = x === undefined ? '' : await epochOf(source.path, x);
      say(`${run}: ${field} ${target} ${x === undefined ? 'is not reached' : `at step ${Math.round(x)}${epoch}`}`);
    }
  }
}

/** `, epoch 12.5`; nothing for a log without a checkpoint beside it. */
async function epochOf(file: string, step: number): Promise<string> {
  const { checkpointSteps } = await import('../lib/training/checkpoint.js');
  if (checkpointSteps(path.dirname(file)).length === 0) return '';
  const { training, data } = await recordOf(file);
  return data.latents.rows > 0 ? `, epoch ${((step * training.batchSize) / data.latents.rows).toFixed(1)}` : '';
}

/** The record of the run whose log a file is. */
async function recordOf(file: string) {
  const { findCheckpoint, readCheckpointRecord } = await import('../lib/training/checkpoint.js');
  return readCheckpointRecord(findCheckpoint(path.dirname(file)));
}

const isFolder = (log: string): boolean => statSync(log, { throwIfNoEntry: false })?.isDirectory() ?? false;

function logFile(log: string): string {
  const file = isFolder(log) ? path.join(log, 'log.ndjson') : log;
  if (existsSync(file)) return file;
  throw missingInput(file);
}

function runName(log: string): string {
  if (isFolder(log)) return path.basename(path.resolve(log));
  return path.basename(log) === 'log.ndjson' ? path.basename(path.dirname(path.resolve(log))) : path.parse(log).name;
}
