/** What checkpoints, logs and files of events hold. */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { readSmallText } from '../files/small-file.js';
import { jsonLines, jsonObject } from '../formats/json-object.js';
import { readEvents } from '../formats/tfevents-reader.js';
import { RunFolder } from '../runs/run-folder.js';
import type { LogLine } from '../runs/run-view.js';
import { trainingTime } from '../runs/training-time.js';
import { checkpointSteps, findCheckpoint, readCheckpointRecord } from '../training/checkpoint.js';
import { type Facts, withMetadata } from './facts.js';

/** A checkpoint: how it is set. Of a training folder the newest, and how the run goes. */
export function checkpointFacts(input: string): Facts {
  const folder = findCheckpoint(input);
  const log = path.join(input, 'log.ndjson');
  const run: Facts = {};
  if (folder !== input) run.checkpoints = checkpointSteps(input).length;
  if (existsSync(log)) run.log = progressFacts(linesOf(log));
  return withMetadata({ path: folder, holds: 'checkpoint', ...run }, readCheckpointRecord(folder));
}

const linesOf = (log: string): readonly LogLine[] => new RunFolder(log).changes((file) => file).lines;

/** A log of a run, the lines that --json of a verb has printed, or one object of JSON. */
export function linesFacts(file: string): Facts {
  const text = readSmallText(file);
  const object = jsonObject(text);
  if (object) return { path: file, holds: 'JSON', fields: Object.keys(object).join(' ') };
  const values = jsonLines(text, file);
  if (values.some(({ step, loss }) => typeof step === 'number' && typeof loss === 'number')) {
    return { path: file, holds: 'log of a run', ...progressFacts(values) };
  }
  const fields = new Set(values.flatMap((value) => Object.keys(value)));
  return { path: file, holds: 'lines of JSON', lines: values.length, fields: [...fields].join(' ') };
}

/** How far a run is, how fast, and what was measured last. */
function progressFacts(lines: readonly LogLine[]): Facts {
  const steps = lines.filter(({ evaluation, step }) => evaluation === undefined && typeof step === 'number');
  const last = steps.at(-1);
  if (!last) return { lines: lines.length };
  const losses = Object.entries(last).filter(([name, value]) => /loss$/.test(name) && typeof value === 'number');
  const rates = steps
    .slice(-RECENT)
    .map(({ images_per_second: rate }) => rate)
    .filter((rate) => typeof rate === 'number');
  const measured = new Map(
    lines.flatMap((line) => (typeof line.evaluation === 'string' ? [[line.evaluation, line]] : [])),
  );
  return {
    step: last.step,
    ...Object.fromEntries(losses.map(([name, value]) => [name, Number((value as number).toPrecision(5))])),
    seconds: Math.round(trainingTime(lines)(last.step as number)),
    ...(rates.length > 0 ? { images_per_second: Number(middle(rates).toPrecision(4)) } : {}),
    ...(measured.size > 0
      ? { measured: Object.fromEntries([...measured].map(([name, line]) => [name, numbersOf(line)])) }
      : {}),
  };
}

/** Steps of which the middle tells the speed. */
const RECENT = 101;

const middle = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** The numbers of a measurement, in a line. */
const numbersOf = (line: LogLine): string =>
  Object.entries(line)
    .filter((entry): entry is [string, number] => typeof entry[1] === 'number' && entry[0] !== 'seconds')
    .map(([name, value]) => `${name} ${Number(value.toPrecision(5))}`)
    .join(', ');

const isEventName = (name: string): boolean => name.includes('tfevents');

/** The files of events at the top of a folder. */
export const eventFiles = (folder: string): string[] =>
  readdirSync(folder)
    .filter(isEventName)
    .sort()
    .map((name) => path.join(folder, name));

/** Events of TensorBoard: of each tag how many, and the last number. */
export function eventFacts(input: string, files: readonly string[] = [input]): Facts {
  const tags = new Map<string, { count: number; last: number | undefined }>();
  let [records, step, first, last] = [0, 0, Number.POSITIVE_INFINITY, 0];
  for (const record of files.flatMap((file) => [...readEvents(file)])) {
    records++;
    step = Math.max(step, record.step);
    [first, last] = [Math.min(first, record.wallTime), Math.max(last, record.wallTime)];
    for (const { tag, scalar } of record.values) {
      tags.set(tag, { count: (tags.get(tag)?.count ?? 0) + 1, last: scalar });
    }
  }
  const shown = [...tags].map(
    ([tag, { count, last: value }]) =>
      `${tag}: ${count}${value === undefined ? '' : `, last ${Number(value.toPrecision(5))}`}`,
  );
  const times = records > 0 ? { from: dateOf(first), to: dateOf(last) } : {};
  return { path: input, holds: 'TensorBoard events', records, step, ...times, tags: shown };
}

const dateOf = (seconds: number): string => {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.valueOf()) ? 'unknown' : date.toISOString();
};
