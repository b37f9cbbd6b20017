/** repa tail: the last rows of a tensor stream. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { operand, verb } from '../lib/cli/verb.js';
import { integer } from '../lib/options/option.js';
import { type StoredRow, storedRows } from '../lib/stream/copy.js';
import { openTensorStream } from '../lib/stream/reader.js';

const description = `Writes the last rows of a tensor stream as a complete stream of its own. All of the input is read and checked, and
the rows that may be the last ones are held in memory.`;

const examples = [{ why: 'what a long job wrote last', command: 'repa tail -n 8 samples/ | repa show' }];

export const command = verb({
  description,
  examples,
  operands: [operand('[stream]', 'file, shard folder, or - for stdin')],
  options: { rows: integer('-n, --rows <n>', 'how many rows', { default: 10 }), out: OUT, json: JSON_ROWS },
  run: async (path, options) => {
    const reader = await openTensorStream(inputOrStdin(path, 'stream'));
    await writeRows(options, reader.schema, async (writer) => {
      const last: StoredRow[] = [];
      for await (const { key, label, tensors } of storedRows(reader)) {
        // A view would keep the whole batch that it is of.
        const own = Object.entries(tensors).map(([name, values]) => [name, values.slice()]);
        last.push({ key, label, tensors: Object.fromEntries(own) });
        if (last.length > options.rows) last.shift();
      }
      for (const { key, label, tensors } of last) await writer.append(key, label, tensors);
    });
    await reader.close();
  },
});
