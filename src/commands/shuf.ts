/** repa shuf: the rows of a tensor stream in a random order. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT, SEED } from '../lib/cli/shared-options.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { PURPOSE, permutation } from '../lib/numbers/random.js';
import { integer } from '../lib/options/option.js';
import { openTensorFile } from '../lib/stream/file.js';

const description = `Writes all rows, or --rows of them, in an order that depends on the seed and the number of rows alone: two sets of the same
images stay in step. The input is a file or a shard folder, not a pipe, since rows are read in that order and not held in memory.

train draws an order of its own in every epoch and needs none of this.`;

const examples = [{ why: 'a random sample of a set', command: 'repa shuf latents -n 1000 --seed 1 -o sample' }];

export const command = verb({
  description,
  examples,
  operands: [operand('<stream>', 'file or shard folder')],
  options: {
    rows: integer('-n, --rows <n>', 'how many rows', { min: 1, defaultText: 'all' }),
    seed: SEED,
    out: OUT,
    json: JSON_ROWS,
  },
  run: async (path, options) => {
    if (path === '-') throw new UsageError('shuf reads rows in any order, which a pipe cannot give', 'Name a file.');
    const file = await openTensorFile(path);
    const order = permutation(file.rows, options.seed, PURPOSE.shuffle, 0).subarray(0, options.rows);
    const labels = file.labels();
    const keys = file.keys();
    await writeRows(options, file.schema, async (writer) => {
      for (const row of order) await writer.append(keys[row], labels[row], file.readStored(row));
    });
    file.close();
  },
});
