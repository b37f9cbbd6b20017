/** The log of a run as a table, and as TensorBoard's events. */
import { readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { eventRecord, fileVersionRecord } from '../formats/tfevents.js';
import { type LoggedRun, loggedRun, numbersOf } from './logged-run.js';

const EVENT_FILE = /^events\.out\.tfevents\.\d+\..*\.repa$/;

/**
 * Writes a run's log as a table: a row for each line, a column for each field, empty where a line has no such number.
 * @throws DataError for a run without a log
 */
export function exportLogTable(location: string, out: string): void {
  const lines = loggedRun(location).lines.map(({ line }) => line);
  const names = [...new Set(lines.flatMap((line) => numbersOf(line).map(([name]) => name)))];
  const header = ['step', 'evaluation', ...names].map(csvCell).join(',');
  const rows = lines.map((line) => {
    const numbers = new Map(numbersOf(line));
    return [line.step, line.evaluation, ...names.map((name) => numbers.get(name))].map(csvCell).join(',');
  });
  writeFileAtomic(out, [header, ...rows].map((row) => `${row}\r\n`).join(''));
}

/** A cell of RFC 4180. */
function csvCell(value: unknown): string {
  const text = typeof value === 'string' || typeof value === 'number' ? String(value) : '';
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Writes a run as an event file of TensorBoard into a folder: curves, the sheets of samples, the configuration as text.
 * Run again, it rewrites the file, which keeps a growing run up to date: an open TensorBoard continues where it was.
 * @returns the file
 * @throws DataError for a run without a log
 */
export function exportEvents(location: string, out: string): string {
  const run = loggedRun(location);
  const name = `events.out.tfevents.${Math.floor(run.started)}.${os.hostname()}.repa`;
  makeFolder(out);
  const earlier = readdirSync(out).find((file) => EVENT_FILE.test(file));
  const file = path.join(out, earlier ?? name);
  writeFileAtomic(file, (fd) => {
    for (const bytes of eventRecords(run)) writeFully(fd, bytes);
  });
  return file;
}

function* eventRecords({ lines, config, sheets, started }: LoggedRun): Generator<Buffer> {
  yield fileVersionRecord(started);
  if (config) {
    const json = JSON.stringify(config, null, 2).replaceAll(/^/gm, '    '); // Markdown's code
    yield eventRecord({ wallTime: started, step: 0, texts: new Map([['config', json]]) });
  }
  for (const { line, step, time: wallTime } of lines) {
    yield eventRecord({ wallTime, step, scalars: new Map(numbersOf(line)) });
    const sheet = line.evaluation === 'samples' ? sheets.get(step) : undefined;
    if (sheet) yield eventRecord({ wallTime, step, pictures: new Map([['samples', sheet]]) });
  }
}
