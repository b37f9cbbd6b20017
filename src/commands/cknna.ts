/** repa cknna: how alike two networks see the same images. */

import { ENGINE, JSON_LINES } from '../lib/cli/shared-options.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { integer, list, number } from '../lib/options/option.js';

const description = `Measures the alignment of two sets of features of the same images: CKNNA (Huh et al., arXiv 2405.07987), the
centred kernel alignment between mutual nearest neighbours, as the REPA paper plots it. Tokens are averaged for each image first.

Rows of tensor streams are matched by key; rows of .npy files [N, D] by position. A stream with several columns, such as
the hidden states of all blocks, gives one number for each.`;

const examples = [
  {
    why: 'how well each block is aligned',
    command: 'repa extract-hidden --blocks all --null-label | repa cknna - feats',
  },
  { why: 'two encoders on the same images', command: 'repa cknna feats-dinov2 feats-mae --metric cknna,cka' },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand('<a>', 'a tensor stream, a shard folder, an .npy, or - for a stream on stdin'),
    operand('<b>', 'the features to compare with, any of the same'),
  ],
  options: {
    neighbours: integer('-k, --neighbours <n>', 'nearest neighbours of each row', { min: 1, default: 10 }),
    metric: list('--metric <names>', 'cknna, cka, unbiased-cka, mutual-knn', String, { default: ['cknna'] }),
    clampOutliers: number(
      '--clamp-outliers <q>',
      'clamp features to this quantile of their magnitudes first (platonic-rep: 0.95)',
      { min: 0, max: 1 },
    ),
    json: JSON_LINES,
    ...ENGINE,
  },
  run: async (a, b, options) => {
    const { selectBackend } = await import('../lib/engine/index.js');
    const { compareFeatures } = await import('../lib/evaluation/compare-features.js');
    await selectBackend(options);
    for await (const result of compareFeatures(a, b, {
      metrics: options.metric,
      k: options.neighbours,
      clamp: options.clampOutliers,
    })) {
      const { metric, column, value, rows } = result;
      printResult(result, `${metric}  ${column}  ${value.toFixed(4)}  (${rows} rows)`, options.json);
    }
  },
});
