/** A run for the exports of its log: lines with their times, numbers by name, settings, sheets of samples. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { LOCK_NAME } from '../files/run-lock.js';
import { sha256OfBytes, sha256OfText } from '../files/sha256.js';
import { pictureFormat, SIGNATURE_BYTES } from '../images/signature.js';
import { RunFolder } from '../runs/run-folder.js';
import type { LogLine } from '../runs/run-view.js';

export interface Sheet {
  readonly png: Buffer;
  readonly sha256: string;
  readonly width: number;
  readonly height: number;
}

export interface LoggedRun {
  readonly name: string;
  /** When the run's folder was made, in seconds since 1970. */
  readonly started: number;
  /** Whether its folder is locked: the run goes on, or was killed. */
  readonly running: boolean;
  readonly lines: readonly TimedLine[];
  readonly config: Readonly<Record<string, unknown>> | null;
  /** Sheets of samples by step. */
  readonly sheets: ReadonlyMap<number, Sheet>;
}

export interface TimedLine {
  readonly line: LogLine;
  readonly step: number;
  /** Seconds since 1970. */
  readonly time: number;
}

/** @throws DataError for a run without a log, a line whose step is none, or a sheet that is no picture */
export function loggedRun(location: string): LoggedRun {
  const folder = new RunFolder(location);
  const { name, lines, config, pictures } = folder.changes((file) => file);
  if (lines.length === 0) throw new DataError(`${location}: its log has no line`);
  const started = startOf(location);
  const sheets = pictures.map(({ step, uri }) => [step, sheetOf(folder.picture(uri)!, uri)] as const);
  const running = existsSync(path.join(location, LOCK_NAME));
  return { name, started, running, lines: [...timed(lines, started)], config, sheets: new Map(sheets) };
}

/** Numbers of a line in the order in which they come, its step left out. */
export function numbersOf({ step: _, ...line }: LogLine): [name: string, value: number][] {
  return Object.entries(line).filter((entry): entry is [string, number] => typeof entry[1] === 'number');
}

/** The numbers of one step: of its own line, and of measurements under the measure's name. */
export interface StepValues {
  readonly step: number;
  readonly time: number;
  readonly values: ReadonlyMap<string, number>;
}

/** The values of a run, an entry for each step, in order. */
export function stepsOf({ lines }: LoggedRun): StepValues[] {
  const steps = new Map<number, { step: number; time: number; values: Map<string, number> }>();
  for (const { line, step, time } of lines) {
    const entry = steps.get(step) ?? { step, time, values: new Map() };
    const prefix = typeof line.evaluation === 'string' ? `${line.evaluation}/` : '';
    for (const [name, value] of numbersOf(line)) entry.values.set(prefix + name, value);
    steps.set(step, { ...entry, time });
  }
  return [...steps.values()].sort((a, b) => a.step - b.step);
}

/** A name of a run, of hexadecimal digits: the same whenever it is exported, as long as its log begins as it does. */
export const identityOf = ({ name, started, lines: [first] }: LoggedRun, digits: number): string =>
  sha256OfText(JSON.stringify([name, first.line.at ?? started])).slice(0, digits);

function startOf(location: string): number {
  const { birthtimeMs, mtimeMs } = statSync(location);
  return (birthtimeMs > 0 ? birthtimeMs : mtimeMs) / 1000;
}

/** Lines with their times. A line of version 1 tells only how long a step took: its time is the start plus these. */
function* timed(lines: readonly LogLine[], started: number): Generator<TimedLine> {
  let [time, before] = [started, 0];
  for (const line of lines) {
    const step = stepOf(line);
    if (line.evaluation === undefined && typeof line.seconds === 'number') {
      time += line.seconds * Math.max(0, step - before);
      before = step;
    }
    const at = typeof line.at === 'string' ? Date.parse(line.at) / 1000 : Number.NaN;
    if (!Number.isNaN(at)) time = at;
    yield { line, step, time };
  }
}

/** @throws DataError for a step that is no whole number from 0 on */
function stepOf({ step = 0 }: LogLine): number {
  if (Number.isSafeInteger(step) && (step as number) >= 0) return step as number;
  throw new DataError(`a line of the log has the step ${JSON.stringify(step)}, which is no whole number`);
}

/**
 * A PNG with its sides, with which its first chunk, IHDR, begins.
 * @throws DataError for what does not begin as a PNG does
 */
function sheetOf(png: Buffer, name: string): Sheet {
  if (pictureFormat(png) === 'png' && png.length >= SIGNATURE_BYTES) {
    return { png, sha256: sha256OfBytes(png), width: png.readUInt32BE(16), height: png.readUInt32BE(20) };
  }
  throw new DataError(`samples/${name}: is no PNG`, 'Remove it, or take it from a copy of the run.');
}
