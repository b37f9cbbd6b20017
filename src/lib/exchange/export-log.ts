/** The log of a run in the formats of other tools. */
import { readdirSync, statSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { DataError } from '../errors.js';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { eventRecord, fileVersionRecord } from '../formats/tfevents.js';
import { pictureFormat, SIGNATURE_BYTES } from '../images/signature.js';
import { RunFolder } from '../runs/run-folder.js';
import type { LogLine } from '../runs/run-view.js';

const EVENT_FILE = /^events\.out\.tfevents\.\d+\..*\.repa$/;

interface LoggedRun {
  lines: readonly LogLine[];
  config: Readonly<Record<string, unknown>> | null;
  sheets: readonly { step: number; png: Buffer }[];
}

/** @throws DataError for a run without a log */
function loggedRun(location: string): LoggedRun {
  const folder = new RunFolder(location);
  const { lines, config, pictures } = folder.changes((file) => file);
  if (lines.length === 0) throw new DataError(`${location}: its log has no line`);
  return {
    lines,
    config,
    sheets: pictures.map(({ step, uri }) => ({ step, png: checkedPng(folder.picture(uri)!, uri) })),
  };
}

/** @throws DataError for what does not begin as a PNG does */
function checkedPng(bytes: Buffer, name: string): Buffer {
  if (pictureFormat(bytes) === 'png' && bytes.length >= SIGNATURE_BYTES) return bytes;
  throw new DataError(`samples/${name}: is no PNG`, 'Remove it, or take it from a copy of the run.');
}

/** @throws DataError for a step that is no whole number from 0 on */
function stepOf({ step = 0 }: LogLine): number {
  if (Number.isSafeInteger(step) && (step as number) >= 0) return step as number;
  throw new DataError(`a line of the log has the step ${JSON.stringify(step)}, which is no whole number`);
}

/** Columns of every number that the lines hold, in the order in which they come. */
function numbersOf({ step: _, ...line }: LogLine): [name: string, value: number][] {
  return Object.entries(line).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}

/**
 * Writes a run's log as a table: a row a line, a column a field, nothing where a line has no such number.
 * @throws DataError for a run without a log
 */
export function exportLogTable(location: string, out: string): void {
  const { lines } = loggedRun(location);
  const names = [...new Set(lines.flatMap((line) => numbersOf(line).map(([name]) => name)))];
  const header = ['step', 'evaluation', ...names].map(csvCell).join(',');
  const rows = lines.map((line) => {
    const numbers = new Map(numbersOf(line));
    return [line.step, line.evaluation, ...names.map((name) => numbers.get(name))].map(csvCell).join(',');
  });
  writeFileAtomic(out, (fd) => writeFully(fd, Buffer.from([header, ...rows].map((row) => `${row}\r\n`).join(''))));
}

/** RFC 4180. */
function csvCell(value: unknown): string {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Writes a run as an event file of TensorBoard into a folder: curves, the sheets of samples, the configuration as text. Run again, it
 * writes the file anew, which is how a run that goes on is kept up to date: an open TensorBoard reads on where it was.
 * @returns the file
 * @throws DataError for a run without a log
 */
export function exportEvents(location: string, out: string): string {
  const run = loggedRun(location);
  const started = startOf(location);
  const name = `events.out.tfevents.${Math.floor(started)}.${os.hostname()}.repa`;
  makeFolder(out);
  const earlier = readdirSync(out).find((file) => EVENT_FILE.test(file));
  const file = path.join(out, earlier ?? name);
  writeFileAtomic(file, (fd) => {
    for (const bytes of eventRecords(run, started)) writeFully(fd, bytes);
  });
  return file;
}

/** Seconds since 1970 at which the run's folder came to be. */
function startOf(location: string): number {
  const { birthtimeMs, mtimeMs } = statSync(location);
  return (birthtimeMs > 0 ? birthtimeMs : mtimeMs) / 1000;
}

/** A line of version 1 tells how long a step took, not when it was: its time is that of the start and of the computing since. */
function* eventRecords({ lines, config, sheets }: LoggedRun, started: number): Generator<Buffer> {
  yield fileVersionRecord(started);
  if (config) {
    const json = JSON.stringify(config, null, 2).replaceAll(/^/gm, '    '); // Markdown's code
    yield eventRecord({ wallTime: started, step: 0, texts: new Map([['config', json]]) });
  }
  const pictures = new Map(sheets.map(({ step, png }) => [step, png]));
  let wallTime = started;
  let before = 0;
  for (const line of lines) {
    const step = stepOf(line);
    if (line.evaluation === undefined && typeof line.seconds === 'number') {
      wallTime += line.seconds * Math.max(0, step - before);
      before = step;
    }
    const at = typeof line.at === 'string' ? Date.parse(line.at) / 1000 : Number.NaN;
    if (!Number.isNaN(at)) wallTime = at;
    yield eventRecord({ wallTime, step, scalars: new Map(numbersOf(line)) });
    const png = line.evaluation === 'samples' ? pictures.get(step) : undefined;
    if (png) yield eventRecord({ wallTime, step, pictures: new Map([['samples', { png, ...sidesOf(png) }]]) });
  }
}

/** Of a PNG: its first chunk is IHDR, which begins with them. */
const sidesOf = (png: Buffer): { width: number; height: number } => ({
  width: png.readUInt32BE(16),
  height: png.readUInt32BE(20),
});
