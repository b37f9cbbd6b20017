/** repa head: the first rows of a tensor stream. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { operand, verb } from '../lib/cli/verb.js';
import { integer } from '../lib/options/option.js';
import { copyRows } from '../lib/stream/copy.js';
import { openTensorStream } from '../lib/stream/reader.js';

const description = `Writes the first rows of a tensor stream as a complete stream of its own, and stops reading: whoever
produces the input is told by a closed pipe.`;

const examples = [
  { why: 'try a recipe on a hundred images', command: 'repa head -n 100 latents > few' },
  { why: 'what its rows hold, with jq', command: 'repa head -n 3 feats --json | jq .key' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[stream]', 'file, shard folder, or - for stdin')],
  options: { rows: integer('-n, --rows <n>', 'how many rows', { default: 10 }), out: OUT, json: JSON_ROWS },
  run: async (path, options) => {
    const reader = await openTensorStream(inputOrStdin(path, 'stream'));
    await writeRows(options, reader.schema, (writer) => copyRows(reader, writer, options.rows));
    await reader.close();
  },
});
