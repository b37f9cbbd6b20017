/** The log of a run: log.ndjson in its folder, and wherever else its lines are wanted. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { diskProblem, UnavailableError } from '../errors.js';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { jsonObject } from '../formats/json-object.js';
import type { Utilization } from './pace.js';
import type { Stopwatch } from './stopwatch.js';

/**
 * The version of lines, which each of them bears: repa-log(5) tells what is in which. Lines of version 1 bear none, and
 * have no `at` and no `images_per_second`; those of version 2 no `model_flops_per_second` and no `memory_bytes`.
 */
export const LOG_VERSION = '3';

const LINE_FEED = 10;
const PIECE = 2 ** 22;

/** One step. Losses are means over the global batch, each under its name and unweighted. */
export interface LogEntry {
  step: number;
  epoch: number;
  /** The weighted sum of the losses: what is minimised. */
  loss: number;
  /** Before clipping. */
  gradient_norm: number;
  learning_rate: number;
  /**
   * Wall time of the step, and the parts of it that are not loss and gradients: data, other ranks, optimiser, features.
   */
  seconds: number;
  data_seconds: number;
  exchange_seconds: number;
  optimizer_seconds: number;
  encoder_seconds?: number;
  images_per_second: number;
  /** Of the process, when the step was done: what of it lies in the machine's memory. */
  memory_bytes: number;
  /**
   * Of the products of the network, forward and back; and their share of what the machine can do, where that was
   * measured.
   */
  model_flops_per_second?: number;
  model_flops_utilization?: number;
  [term: `${string}_loss`]: number;
}

/**
 * What a step came to: losses are means over the global batch, by name and unweighted; `total` is what is minimised.
 */
export interface TakenStep {
  losses: Readonly<Record<string, number>>;
  gradientNorm: number;
  learningRate: number;
}

/**
 * The line of step number `step`, counted from 1.
 * @param watch has the time of the step; that of an encoder is told where there is one
 * @param images of the global batch
 * @param utilization what the step's seconds say of the machine
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

/** What was measured at a step: its own line, with `evaluation` saying which. */
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

/** Whole lines of a file, some megabytes at a time: a log may be longer than a text can be. */
function* piecesOf(file: string): Generator<string> {
  const fd = openSync(file, 'r');
  try {
    const chunk = Buffer.alloc(PIECE);
    let begun = Buffer.alloc(0);
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) {
      const all = Buffer.concat([begun, chunk.subarray(0, count)]);
      const end = all.lastIndexOf(LINE_FEED) + 1;
      if (end > 0) yield all.toString('utf8', 0, end);
      begun = all.subarray(end);
    }
    yield begun.toString(); // half a line of a killed run, or none
  } finally {
    closeSync(fd);
  }
}

/** The lines that are whole entries of a step up to `step`; what they measured is added to `measured`. */
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
