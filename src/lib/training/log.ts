/** The log of a run: its lines, written to log.ndjson in its folder. */
import { closeSync, existsSync, fstatSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { diskProblem, UnavailableError } from '../errors.js';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { linePieces } from '../files/line-pieces.js';
import { jsonObject } from '../formats/json-object.js';
import type { Utilization } from './pace.js';
import type { Stopwatch } from './stopwatch.js';

/**
 * The version that each line names in `log`; repa-log(5) describes them. Lines of version 1 name none, and have no `at`
 * and no `images_per_second`; those of version 2 have no `model_flops_per_second` and no `memory_bytes`.
 */
export const LOG_VERSION = '3';

/** One step. Losses are means over the global batch, each under its name and unweighted. */
export interface LogEntry {
  step: number;
  epoch: number;
  /** The weighted sum of the losses: what is minimised. */
  loss: number;
  /** Before clipping. */
  gradient_norm: number;
  learning_rate: number;
  /** Wall time of the step, then its parts besides loss and gradients: data, other ranks, optimiser, features. */
  seconds: number;
  data_seconds: number;
  exchange_seconds: number;
  optimizer_seconds: number;
  encoder_seconds?: number;
  images_per_second: number;
  /** Resident memory of the process at the end of the step. */
  memory_bytes: number;
  /** FLOPs per second in products, forward and backward; and their share of what the machine can do, if measured. */
  model_flops_per_second?: number;
  model_flops_utilization?: number;
  [term: `${string}_loss`]: number;
}

/** The numbers of a step: losses are means over the global batch, by name and unweighted; `total` is minimised. */
export interface TakenStep {
  losses: Readonly<Record<string, number>>;
  gradientNorm: number;
  learningRate: number;
}

/**
 * The line of step number `step`, counted from 1.
 * @param watch has the times of the step; that of an encoder is logged if the run `encodes`
 * @param images of the global batch
 * @param utilization how well the machine was used in a step of so many seconds
 */
export function stepEntry(
  step: number,
  epoch: number,
  { losses: { total, ...terms }, gradientNorm, learningRate }: TakenStep,
  watch: Stopwatch,
  { encodes, images }: { encodes: boolean; images: number },
  utilization: (seconds: number) => Utilization,
): LogEntry {
  const seconds = watch.total;
  return {
    step,
    epoch,
    loss: total,
    ...Object.fromEntries(Object.entries(terms).map(([name, value]) => [`${name}_loss`, value])),
    gradient_norm: gradientNorm,
    learning_rate: learningRate,
    seconds,
    data_seconds: watch.seconds('data'),
    exchange_seconds: watch.seconds('exchange'),
    optimizer_seconds: watch.seconds('optimizer'),
    ...(encodes ? { encoder_seconds: watch.seconds('encoder') } : {}),
    images_per_second: images / seconds,
    memory_bytes: process.memoryUsage.rss(),
    ...utilization(seconds),
  };
}

/** The line of a measurement at a step; `evaluation` names the measure. */
export interface EvaluationEntry {
  step: number;
  evaluation: string;
  [field: string]: unknown;
}

export interface Log {
  /** Writes a line, with the time of day. */
  write(entry: LogEntry | EvaluationEntry): Promise<void>;
  /** The evaluations of a step that were in the log when it was opened. */
  measuresOf(step: number): ReadonlySet<string>;
  close(): Promise<void>;
}

/**
 * Opens log.ndjson for appending, without the lines past `step` that a killed run wrote after its last checkpoint.
 * @param print is given each line, once it is in the file
 */
export async function openLog(folder: string, step: number, print: (line: string) => void): Promise<Log> {
  makeFolder(folder);
  const file = path.join(folder, 'log.ndjson');
  const measured = new Map<number, Set<string>>();
  writeFileAtomic(file, (fd) => {
    for (const piece of existsSync(file) ? piecesOf(file) : [])
      writeFully(fd, Buffer.from(upTo(piece, step, measured)));
  });
  const handle = await open(file, 'a');
  const append = async (line: string): Promise<void> => {
    try {
      await handle.appendFile(line);
    } catch (error) {
      const problem = diskProblem(error);
      if (!problem) throw error;
      throw new UnavailableError(
        `${file} cannot be written: ${problem}`,
        'Checkpoints are as they were. Make room; then the same command continues from the newest.',
      );
    }
  };
  return {
    async write(entry) {
      const line = `${JSON.stringify({ ...entry, at: new Date().toISOString(), log: LOG_VERSION })}\n`;
      await append(line);
      print(line);
    },
    measuresOf: (asked) => measured.get(asked) ?? new Set(),
    close: () => handle.close(),
  };
}

/** A log in pieces of whole lines; the last may be half a line, of a run that was killed. */
function* piecesOf(file: string): Generator<string> {
  const fd = openSync(file, 'r');
  try {
    for (const piece of linePieces(fd, 0, fstatSync(fd).size)) yield piece.toString();
  } finally {
    closeSync(fd);
  }
}

/** Keeps the entries of steps up to `step`, and adds the names of their measurements to `measured`. */
function upTo(lines: string, step: number, measured: Map<number, Set<string>>): string {
  return lines
    .split('\n')
    .filter((line) => {
      const entry = jsonObject(line);
      if (typeof entry?.step !== 'number' || entry.step > step) return false; // the last line of a killed run may be half of one
      if (typeof entry.evaluation === 'string') {
        const names = measured.get(entry.step) ?? new Set();
        measured.set(entry.step, names.add(entry.evaluation));
      }
      return true;
    })
    .map((line) => `${line}\n`)
    .join('');
}
