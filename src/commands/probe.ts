/** repa probe: how well classes can be read from features. */

import { tmpdir } from 'node:os';
import { ENGINE, JSON_LINES, SEED } from '../lib/cli/shared-options.js';
import { printResult, say } from '../lib/cli/terminal.js';
import { verb } from '../lib/cli/verb.js';
import { showBytes } from '../lib/files/space.js';
import { integer, list, text } from '../lib/options/option.js';

const description = `Measures what features know of the classes: a linear layer trained on the features of one set and tested on
those of another, as the REPA paper does it (batch normalisation without parameters, 90 epochs, Adam), and a vote of the
nearest neighbours, which trains nothing. Tokens are averaged for each image first.

Without --test, a fifth of the training features, chosen by their keys, is held out.

Features of more than 256 MiB are kept in a file without a name in TMPDIR (or /tmp) while it runs, and read some at a time; what it will
take is told before.`;

const examples = [
  {
    why: 'what block 8 knows at half noise',
    command: 'repa extract-hidden --blocks 8 --t 0.5 --null-label > hidden && repa probe --train hidden',
  },
  {
    why: 'an encoder, with a test set of its own',
    command: 'repa probe --train feats --test feats-val --metric linear,knn',
  },
];

export const command = verb({
  description,
  examples,
  options: {
    train: text('--train <path>', 'features with labels: a tensor stream or a shard folder', { required: true }),
    test: text('--test <path>', 'features to test on'),
    metric: list('--metric <names>', 'linear, knn', String, { default: ['linear', 'knn'] }),
    epochs: integer('--epochs <n>', 'of the linear probe', { min: 1, default: 90 }),
    neighbours: integer('-k, --neighbours <n>', 'that vote', { min: 1, default: 20 }),
    seed: SEED,
    json: JSON_LINES,
    ...ENGINE,
  },
  run: async (options) => {
    const { selectBackend } = await import('../lib/engine/index.js');
    const { probeFeatures, probeNeeds } = await import('../lib/evaluation/probe.js');
    const needs = await probeNeeds(options);
    if (needs && !options.quiet) say(`note: takes about ${shownNeeds(needs)}`);
    await selectBackend(options);
    for await (const result of probeFeatures(options)) {
      const { metric, column, accuracy, train_rows, test_rows, classes } = result;
      const words = `${metric}  ${column}  ${(100 * accuracy).toFixed(2)} %  (${classes} classes, ${train_rows} + ${test_rows} rows)`;
      printResult(result, words, options.json);
    }
  },
});

/** Memory, and the room of what is kept in a file instead. */
const shownNeeds = ({ memory, disk }: { memory: number; disk: number }): string =>
  `${showBytes(memory)} of memory${disk > 0 ? `, and ${showBytes(disk)} in ${tmpdir()} while it runs` : ''}`;
