/** repa cat: several tensor streams to one. */

import { OUT } from '../lib/cli/shared-options.js';
import { writeStream } from '../lib/cli/tensor-output.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError } from '../lib/errors.js';
import { copyRows } from '../lib/stream/copy.js';
import { openTensorStream } from '../lib/stream/reader.js';
import { sameColumns, showColumn } from '../lib/stream/schema.js';

const description = `Reads tensor streams one after the other and writes their rows as a single stream.

Unlike cat(1), whose output repa also reads, it checks every input, refuses streams of other columns, and gives rows
one numbering and one end. The metadata of the first stream is kept. A shard folder is read in the order of its parts.`;

const examples = [
  { why: 'join the parts that four machines made', command: 'repa cat part0 part1 part2 part3 -o latents' },
  { why: 'one file from a shard folder', command: 'repa cat latents/ > latents.arrows' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[streams...]', 'files, shard folders, or - for stdin (default: stdin)')],
  options: { out: OUT },
  run: async (paths, options) => {
    const inputs = paths.length > 0 ? paths : ['-'];
    const first = await openTensorStream(inputs[0]);
    await writeStream(options, first.schema, async (writer) => {
      for (const [i, path] of inputs.entries()) {
        const reader = i === 0 ? first : await openTensorStream(path);
        if (!sameColumns(reader.schema.columns, first.schema.columns)) {
          const [here, there] = [reader, first].map(({ schema }) => schema.columns.map(showColumn).join(', '));
          throw new DataError(`${path}: has ${here}, but ${inputs[0]} has ${there}`);
        }
        await copyRows(reader, writer);
        await reader.close();
      }
    });
  },
});
