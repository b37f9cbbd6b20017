/** repa select: some rows and columns of a tensor stream. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError, UsageError } from '../lib/errors.js';
import { readSmallText } from '../lib/files/small-file.js';
import { list, parsed, text, ValueProblem, whole } from '../lib/options/option.js';
import { type StoredRow, storedRows } from '../lib/stream/copy.js';
import { openTensorStream, type TensorReader } from '../lib/stream/reader.js';
import { findColumn, scaleColumn, type TensorColumn } from '../lib/stream/schema.js';

const description = `Writes the rows whose label and key are asked for, with the columns that are asked for, in their order. What is not
restricted stays as it is; rows must fit every restriction. A key file has one key a line, and every key in it must be in the
stream.`;

const examples = [
  { why: 'names of some, with jq', command: "repa select latents --match '^cats/' --json | jq -r .key" },
  { why: 'three classes of a set', command: 'repa select latents --label 0,7,130 -o few' },
  {
    why: 'one block of hidden states, under a shorter name',
    command: 'repa select hidden --column hidden.b4.t0.5 --rename hidden.b4.t0.5=hidden -o b4',
  },
  { why: 'the images that a person chose', command: 'repa select latents --keys chosen.txt -o chosen' },
];

/** A name and what takes its place: `old=new`. @throws ValueProblem */
function parseRename(value: string): [string, string] {
  const match = /^([^=]+)=([^=]+)$/.exec(value);
  if (match) return [match[1], match[2]];
  throw new ValueProblem('It takes old=new.');
}

function parsePattern(value: string): RegExp {
  try {
    return new RegExp(value, 'u');
  } catch (error) {
    throw new ValueProblem(`It takes a regular expression: ${(error as Error).message}.`);
  }
}

export const command = verb({
  description,
  examples,
  operands: [operand('[stream]', 'file, shard folder, or - for stdin')],
  options: {
    label: list('--label <classes>', 'rows of these classes; -1 for rows without a label', whole(-1)),
    match: parsed('--match <regex>', 'rows whose key matches', parsePattern),
    keys: text('--keys <file>', 'rows whose key is a line of this file, or - for stdin'),
    column: list('--column <names>', 'only these columns', (name) => name),
    rename: list('--rename <old=new>', 'call a column something else', parseRename),
    out: OUT,
    json: JSON_ROWS,
  },
  run: async (path, options) => {
    const input = inputOrStdin(path, 'stream');
    if (input === '-' && options.keys === '-')
      throw new UsageError('the stream and --keys cannot both come from stdin', 'Name a file.');
    const reader = await openTensorStream(input);
    const columns = chosenColumns(reader, options.column);
    const renamed = renames(reader, columns, options.rename);
    const keys = options.keys === undefined ? undefined : readKeys(options.keys);
    const missing = new Set(keys);
    const wanted = ({ key, label }: StoredRow): boolean =>
      (options.label?.includes(label) ?? true) && (options.match?.test(key) ?? true) && (keys?.has(key) ?? true);
    const schema = {
      ...reader.schema,
      columns: columns.map((column) => ({ ...column, name: renamed.get(column.name) ?? column.name })),
    };
    await writeRows(options, schema, async (writer) => {
      for await (const row of storedRows(reader)) {
        missing.delete(row.key);
        if (!wanted(row)) continue;
        const tensors = columns.map(({ name }) => [renamed.get(name) ?? name, row.tensors[name]]);
        await writer.append(row.key, row.label, Object.fromEntries(tensors));
      }
      const [first] = missing;
      if (first !== undefined) {
        throw new DataError(`${options.keys}: ${missing.size} keys are not in ${reader.name}, such as '${first}'`);
      }
    });
    await reader.close();
  },
});

/** The columns by name, i8 ones with their scales. @throws DataError naming those there are */
function chosenColumns({ schema, name }: TensorReader, names: readonly string[] | undefined): readonly TensorColumn[] {
  if (!names) return schema.columns;
  const chosen = names.flatMap((wanted) => {
    const column = findColumn(schema, wanted, name);
    return column.dtype === 'i8' ? [column, findColumn(schema, scaleColumn(column).name, name)] : [column];
  });
  return schema.columns.filter((column) => chosen.includes(column));
}

/** What columns are called; the scales of an i8 column follow it. */
function renames(
  { schema, name }: TensorReader,
  columns: readonly TensorColumn[],
  pairs: readonly (readonly [string, string])[] = [],
): Map<string, string> {
  const renamed = new Map<string, string>();
  for (const [before, after] of pairs) {
    const column = findColumn({ ...schema, columns }, before, name);
    renamed.set(before, after);
    if (column.dtype === 'i8') renamed.set(scaleColumn(column).name, scaleColumn({ ...column, name: after }).name);
  }
  return renamed;
}

const readKeys = (file: string): ReadonlySet<string> =>
  new Set(
    readSmallText(file)
      .split('\n')
      .map((line) => line.replace(/\r$/, ''))
      .filter((line) => line !== ''),
  );
