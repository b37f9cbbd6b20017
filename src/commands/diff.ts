/** repa diff: how two tensor streams, weights files or runs differ. */

import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { JSON_LINES } from '../lib/cli/shared-options.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError, EXIT, UsageError } from '../lib/errors.js';
import { DifferenceSum } from '../lib/evaluation/difference.js';
import { missingInput } from '../lib/files/missing.js';
import { isPipe } from '../lib/files/named-pipe.js';
import { toFloat32 } from '../lib/formats/host-tensor.js';
import { isNpyFile, readNpy } from '../lib/formats/npy.js';
import { openWeights, type WeightsFile } from '../lib/formats/weights-file.js';
import { sameShape, showShape, sizeOf } from '../lib/numbers/typed-array.js';
import { number } from '../lib/options/option.js';
import { flattened } from '../lib/runs/facts.js';
import { openTensorFile, type TensorFile } from '../lib/stream/file.js';
import { isStreamFile } from '../lib/stream/is-stream.js';
import { showColumn, valueColumns } from '../lib/stream/schema.js';
import { checkpointSteps, findCheckpoint, readCheckpointRecord } from '../lib/training/checkpoint.js';

const description = `Compares two things of one kind. Of tensor streams and shard folders, rows are joined by key: what only one has, labels and
metadata that differ, and for each column how far values are apart. Of weights files (safetensors, .pt, .npz) and of .npy, the same by tensor. Of
training folders and checkpoints, the settings that differ.

Prints one line for each difference, nothing if there is none. The exit status is 1 if the two differ; values that are no further
apart than --tolerance count as equal.`;

const examples = [
  { why: 'how two runs were set', command: 'repa diff ckpt ckpt-plain' },
  { why: 'what f16 costs', command: 'repa diff feats-f32 feats-f16' },
  { why: 'whether an export came back as it was', command: 'repa diff before.safetensors after.safetensors' },
];

/** One thing in which the two differ. */
type Line = Record<string, unknown>;

export const command = verb({
  description,
  examples,
  operands: [
    operand('<a>', 'stream, shard folder, weights file, .npy, training folder or checkpoint'),
    operand('<b>', 'another'),
  ],
  options: {
    tolerance: number('--tolerance <x>', 'largest |a - b| that counts as equal', { min: 0, default: 0 }),
    json: JSON_LINES,
  },
  run: async (a, b, options) => {
    const [kind, other] = [kindOf(a), kindOf(b)];
    if (kind !== other) throw new DataError(`${a} is a ${kind}, but ${b} a ${other}`);
    const lines = kind === 'run' ? runLines(a, b) : kind === 'stream' ? await streamLines(a, b) : weightsLines(a, b);
    for (const line of lines) {
      if (typeof line.largest === 'number' && line.largest <= options.tolerance) continue;
      process.exitCode = EXIT.checkFailed;
      printResult(line, inWords(line), options.json);
    }
  },
});

type Kind = 'run' | 'stream' | 'weights file';

function kindOf(input: string): Kind {
  if (isPipe(input)) {
    throw new UsageError(`${input}: diff reads in any order, which a pipe cannot give`, 'Save it to a file first.');
  }
  const found = statSync(input, { throwIfNoEntry: false });
  if (!found) throw missingInput(input, 'file or folder');
  if (!found.isDirectory()) return isStreamFile(input) ? 'stream' : 'weights file';
  return existsSync(path.join(input, 'config.json')) || checkpointSteps(input).length > 0 ? 'run' : 'stream';
}

function* runLines(a: string, b: string): Generator<Line> {
  yield* factLines('setting', readCheckpointRecord(findCheckpoint(a)), readCheckpointRecord(findCheckpoint(b)));
}

function* factLines(what: string, a: Record<string, unknown>, b: Record<string, unknown>): Generator<Line> {
  const [left, right] = [new Map(flattened(a)), new Map(flattened(b))];
  for (const name of new Set([...left.keys(), ...right.keys()])) {
    const [before, after] = [left.get(name), right.get(name)];
    if (JSON.stringify(before) !== JSON.stringify(after)) yield { what, name, a: before, b: after };
  }
}

/** Rows at a time: memory stays small whatever the size of the sets. */
const ROWS = 64;

async function streamLines(a: string, b: string): Promise<Line[]> {
  const [left, right] = [await openTensorFile(a), await openTensorFile(b)];
  try {
    const [rowsLeft, rowsRight] = [left, right].map((file) => new Map(file.keys().map((key, row) => [key, row])));
    const shared = left.keys().flatMap((key, row): [number, number][] => {
      const other = rowsRight.get(key);
      return other === undefined ? [] : [[row, other]];
    });
    return [
      ...factLines('metadata', left.schema.metadata, right.schema.metadata),
      ...missingLines(a, b, [...rowsLeft.keys()], rowsRight),
      ...missingLines(b, a, [...rowsRight.keys()], rowsLeft),
      ...labelLines(left, right, shared),
      ...columnLines(a, b, left, right, shared),
    ];
  } finally {
    left.close();
    right.close();
  }
}

function* missingLines(
  here: string,
  there: string,
  keys: readonly string[],
  other: ReadonlyMap<string, number>,
): Generator<Line> {
  const missing = keys.filter((key) => !other.has(key));
  if (missing.length > 0)
    yield { what: 'rows', only_in: here, not_in: there, count: missing.length, first: missing[0] };
}

function* labelLines(
  left: TensorFile,
  right: TensorFile,
  shared: readonly (readonly [number, number])[],
): Generator<Line> {
  const [a, b] = [left.labels(), right.labels()];
  const different = shared.filter(([row, other]) => a[row] !== b[other]);
  if (different.length === 0) return;
  const [[row, other]] = different;
  yield { what: 'labels', count: different.length, first: left.keyOf(row), a: a[row], b: b[other] };
}

function* columnLines(
  a: string,
  b: string,
  left: TensorFile,
  right: TensorFile,
  shared: readonly (readonly [number, number])[],
): Generator<Line> {
  const columns = valueColumns(left.schema.columns);
  for (const column of columns) {
    const other = right.schema.columns.find(({ name }) => name === column.name);
    if (!other) yield { what: 'column', only_in: a, not_in: b, column: showColumn(column) };
    else if (!sameShape(column.shape, other.shape))
      yield { what: 'column', a: showColumn(column), b: showColumn(other) };
    else {
      const sum = new DifferenceSum(column.name);
      const size = sizeOf(column.shape);
      for (let start = 0; start < shared.length; start += ROWS) {
        const pairs = shared.slice(start, start + ROWS);
        const [x, y] = [new Float32Array(pairs.length * size), new Float32Array(pairs.length * size)];
        left.read(
          column.name,
          pairs.map(([row]) => row),
          x,
        );
        right.read(
          column.name,
          pairs.map(([, row]) => row),
          y,
        );
        sum.add(x, y);
      }
      if (sum.difference.different > 0) yield { what: 'values', ...sum.difference };
    }
  }
  for (const column of valueColumns(right.schema.columns)) {
    if (columns.some(({ name }) => name === column.name)) continue;
    yield { what: 'column', only_in: b, not_in: a, column: showColumn(column) };
  }
}

/** A weights file, or an .npy as one of a single tensor. */
function openTensors(file: string): Pick<WeightsFile, 'names' | 'has' | 'info' | 'read' | 'close'> {
  if (!isNpyFile(file)) return openWeights(file);
  const array = readNpy(file);
  const name = 'array';
  return { names: [name], has: (asked) => asked === name, info: () => array, read: () => array, close() {} };
}

function* weightsLines(a: string, b: string): Generator<Line> {
  const [left, right] = [openTensors(a), openTensors(b)];
  try {
    for (const name of left.names) {
      if (!right.has(name)) {
        yield { what: 'tensor', only_in: a, not_in: b, name };
        continue;
      }
      const [x, y] = [left.info(name), right.info(name)];
      if (!sameShape(x.shape, y.shape)) {
        yield { what: 'tensor', name, a: showShape(x.shape), b: showShape(y.shape) };
        continue;
      }
      const sum = new DifferenceSum(name);
      sum.add(toFloat32(left.read(name)), toFloat32(right.read(name)));
      if (sum.difference.different > 0) yield { what: 'values', ...sum.difference };
    }
    for (const name of right.names) if (!left.has(name)) yield { what: 'tensor', only_in: b, not_in: a, name };
  } finally {
    left.close();
    right.close();
  }
}

/** `values latent: largest 0.25, rms 0.01`, each fact behind what it is about. */
function inWords({ what, name, ...facts }: Line): string {
  const told = Object.entries(facts).map(([key, fact]) => {
    const shown = typeof fact === 'number' ? Number(fact.toPrecision(6)) : fact;
    return `${key.replaceAll('_', ' ')} ${typeof shown === 'string' ? shown : (JSON.stringify(shown) ?? 'absent')}`;
  });
  return `${what}${name === undefined ? '' : ` ${name}`}: ${told.join(', ')}`;
}
