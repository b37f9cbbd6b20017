/** repa info: what a file is and how it was made. */

import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { JSON_LINES } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { MissingInputError } from '../lib/errors.js';
import { openNpz } from '../lib/formats/npz.js';
import { openWeights } from '../lib/formats/weights-file.js';
import { FEATURE_KINDS, featureDims, hasStatistics, readCount, readOrigin } from '../lib/metrics/statistics-file.js';
import { showShape, sizeOf } from '../lib/numbers/typed-array.js';
import { openTensorFile } from '../lib/stream/file.js';
import { isStreamFile } from '../lib/stream/is-stream.js';
import { openTensorStream } from '../lib/stream/reader.js';
import { showColumn } from '../lib/stream/schema.js';
import { checkpointSteps, findCheckpoint, readCheckpointRecord } from '../lib/training/checkpoint.js';

const description = `Says what a tensor stream, a shard folder, a checkpoint, a weights file or an .npz of statistics holds, and how it was made: the
command, the model and its hash, the preprocessing, the sampler. Of files, only headers are read.`;

const examples = [
  { why: 'how these latents were made', command: 'repa info latents' },
  { why: 'what is coming through a pipe', command: 'repa sample --num 4 | repa info' },
  { why: 'the settings of a run, for a script', command: 'repa info ckpt --json | jq .training' },
];

type Facts = Record<string, unknown>;

export const command = verb({
  description,
  examples,
  operands: [operand('[path]', 'a stream, shard folder, checkpoint or weights file, or - for a stream on stdin')],
  options: { json: JSON_LINES },
  run: async (given, options) => {
    const facts = await describe(inputOrStdin(given, 'file'));
    printResult(facts, lines(facts).join('\n'), options.json);
  },
});

async function describe(input: string): Promise<Facts> {
  if (input === '-') return describeStream(input);
  if (!existsSync(input)) throw new MissingInputError(`${input}: no such file or folder`);
  const stat = statSync(input);
  if (!stat.isFile() && !stat.isDirectory()) return describeStream(input); // a pipe, such as <(command)
  if (!stat.isDirectory()) {
    if (isStreamFile(input)) return describeTensors(input);
    return (path.extname(input) === '.npz' ? describeStatistics(input) : undefined) ?? describeWeights(input);
  }
  const isCheckpoint = existsSync(path.join(input, 'config.json')) || checkpointSteps(input).length > 0;
  return isCheckpoint ? describeCheckpoint(input) : describeTensors(input);
}

async function describeTensors(input: string): Promise<Facts> {
  const file = await openTensorFile(input);
  const labels = file.labels();
  const { columns, metadata } = file.schema;
  await file.close();
  const facts = {
    path: input,
    holds: 'tensor stream',
    rows: file.rows,
    columns: columns.map(showColumn),
    classes: new Set(labels.filter((label) => label >= 0)).size,
  };
  return withMetadata(facts, metadata);
}

/** Facts, then what a file says of itself: of two things of one name, what was seen counts. */
const withMetadata = (facts: Facts, metadata: Facts): Facts => ({ ...facts, ...metadata, ...facts });

async function describeStream(input: string): Promise<Facts> {
  const reader = await openTensorStream(input);
  let rows = 0;
  for await (const batch of reader) rows += batch.rows;
  const { columns, metadata } = reader.schema;
  return withMetadata({ path: input, holds: 'tensor stream', rows, columns: columns.map(showColumn) }, metadata);
}

function describeCheckpoint(input: string): Facts {
  const folder = findCheckpoint(input);
  return withMetadata({ path: folder, holds: 'checkpoint' }, readCheckpointRecord(folder));
}

/** What an .npz of feature statistics is of; undefined if it is none. */
function describeStatistics(input: string): Facts | undefined {
  const file = openNpz(input);
  try {
    const kinds = FEATURE_KINDS.filter((kind) => hasStatistics(file, kind));
    if (kinds.length === 0) return undefined;
    const count = readCount(file);
    return {
      path: input,
      holds: 'feature statistics',
      features: kinds.map((kind) => `${kind}: ${featureDims(file, kind)}`),
      ...(count === undefined ? {} : { images: count }),
      ...readOrigin(file, input),
    };
  } finally {
    file.close();
  }
}

function describeWeights(input: string): Facts {
  const file = openWeights(input);
  try {
    const infos = file.names.map((name) => ({ name, ...file.info(name) }));
    const facts = {
      path: input,
      holds: 'weights',
      parameters: infos.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      tensors: infos.map(({ name, dtype, shape }) => `${name}: ${dtype} ${showShape(shape)}`),
    };
    return withMetadata(facts, file.metadata);
  } finally {
    file.close();
  }
}

/** One fact a line, nested ones indented, lists one item a line. */
function lines(facts: Facts, indent = ''): string[] {
  return Object.entries(facts).flatMap(([key, value]) => {
    if (Array.isArray(value) && value.some((item) => typeof item === 'string')) {
      return [`${indent}${key}`, ...value.map((item) => `${indent}  ${item}`)];
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return [`${indent}${key}`, ...lines(value as Facts, `${indent}  `)];
    }
    return [`${indent}${key}  ${typeof value === 'string' ? value : JSON.stringify(value)}`];
  });
}
