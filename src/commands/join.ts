/** repa join: the columns of two tensor streams of the same images side by side. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT } from '../lib/cli/shared-options.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError, UsageError } from '../lib/errors.js';
import { flag } from '../lib/options/option.js';
import { storedRows } from '../lib/stream/copy.js';
import { openTensorFile, type TensorFile } from '../lib/stream/file.js';
import { openTensorStream } from '../lib/stream/reader.js';

const description = `Writes the rows of the first stream in their order, each with the tensors that the second one has under the same key. The
first may be a pipe; of the second, a file or a shard folder, rows are read in any order. A row without its other half is an
error, unless --inner leaves it out. Labels must agree where both are known. The metadata of the first stream is kept; the second's
stands beside it, each name with .other behind.`;

const examples = [
  { why: 'latents and features in one file', command: 'repa join latents feats -o both' },
  {
    why: 'two blocks that were extracted apart',
    command: 'repa select b4 --rename hidden=hidden.b4 | repa join - b8 -o blocks',
  },
];

export const command = verb({
  description,
  examples,
  operands: [operand('<first>', 'file, shard folder, or - for stdin'), operand('<second>', 'file or shard folder')],
  options: { inner: flag('--inner', 'leave out rows that only one of the two has'), out: OUT, json: JSON_ROWS },
  run: async (first, second, options) => {
    if (second === '-') throw new UsageError('only the first of the two can come from stdin', 'Name a file.');
    const reader = await openTensorStream(first);
    const other = await openTensorFile(second);
    const taken = reader.schema.columns.find(({ name }) => other.schema.columns.some((column) => column.name === name));
    if (taken) {
      throw new DataError(
        `${first} and ${second} both have a column '${taken.name}'`,
        `Rename one: repa select --rename ${taken.name}=NAME.`,
      );
    }
    const otherMetadata = Object.entries(other.schema.metadata).map(([name, value]) => [`${name}.other`, value]);
    const schema = {
      columns: [...reader.schema.columns, ...other.schema.columns],
      metadata: { ...reader.schema.metadata, ...Object.fromEntries(otherMetadata) },
    };
    const rowOf = new Map(other.keys().map((key, row) => [key, row]));
    let joined = 0;
    await writeRows(options, schema, async (writer) => {
      for await (const { key, label, tensors } of storedRows(reader)) {
        const row = rowOf.get(key);
        if (row === undefined) {
          if (options.inner) continue;
          throw new DataError(`${second}: has no row '${key}'`, '--inner leaves out what only one of the two has.');
        }
        joined++;
        await writer.append(key, agreedLabel(key, label, other, row), { ...tensors, ...other.readStored(row) });
      }
      if (joined < other.rows && !options.inner) {
        throw new DataError(
          `${second}: ${other.rows - joined} of its ${other.rows} rows are not in ${first}`,
          '--inner leaves out what only one of the two has.',
        );
      }
    });
    other.close();
    await reader.close();
  },
});

function agreedLabel(key: string, label: number, other: TensorFile, row: number): number {
  const otherLabel = other.labels()[row];
  if (label < 0) return otherLabel;
  if (otherLabel < 0 || otherLabel === label) return label;
  throw new DataError(`row '${key}' has the label ${label}, but ${otherLabel} in ${other.name}`);
}
