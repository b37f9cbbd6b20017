/** repa split: a tensor stream into two that share no row. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT, SEED } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { number, text } from '../lib/options/option.js';
import { storedRows } from '../lib/stream/copy.js';
import { keyShare } from '../lib/stream/key-table.js';
import { openTensorStream } from '../lib/stream/reader.js';

const description = `Writes about --share of the rows to -o and the others to --rest, for instance to hold images out. Where a row goes
depends on its key and the seed alone: latents and features of the same images are split alike, whatever their order, and a set that
grows keeps the sides that its images had.`;

const examples = [
  {
    why: 'hold out a twentieth of a set',
    command:
      'repa split latents --share 0.05 -o latents-val --rest latents-train && repa split feats --share 0.05 -o feats-val --rest feats-train',
  },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[stream]', 'file, shard folder, or - for stdin')],
  options: {
    share: number('--share <p>', 'share of the rows that goes to -o', { min: 0, max: 1, default: 0.1 }),
    out: OUT,
    json: JSON_ROWS,
    rest: text('--rest <path>', 'where the other rows go', { required: true, writes: true }),
    seed: SEED,
  },
  run: async (path, options) => {
    if ((options.out ?? '-') === '-' && options.rest === '-') {
      throw new UsageError('both parts would go to stdout, as one stream', 'Give -o or --rest a name.');
    }
    const reader = await openTensorStream(inputOrStdin(path, 'stream'));
    const { schema } = reader;
    await writeRows(options, schema, (writer) =>
      writeRows({ ...options, out: options.rest }, schema, async (rest) => {
        for await (const { key, label, tensors } of storedRows(reader)) {
          await (keyShare(key, options.seed) < options.share ? writer : rest).append(key, label, tensors);
        }
      }).then(() => undefined),
    );
    await reader.close();
  },
});
