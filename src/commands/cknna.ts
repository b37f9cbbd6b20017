/** repa cknna: how alike two networks see the same images. */
import { decimal, integer, listOf, text } from '../lib/cli/parse.js';
import { backendOption, jsonOption, threadsOption, verb } from '../lib/cli/verb.js';

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

export const command = () =>
  verb('cknna', { summary: 'measure the alignment of two sets of features', description, examples })
    .argument('<a>', 'a tensor stream, a shard folder, an .npy, or - for a stream on stdin')
    .argument('<b>', 'the features to compare with, any of the same')
    .option('-k, --neighbours <n>', 'nearest neighbours of each row', integer(1), 10)
    .option('--metric <names>', 'cknna, cka, unbiased-cka, mutual-knn', listOf(text), ['cknna'])
    .option(
      '--clamp-outliers <q>',
      'clamp features to this quantile of their magnitudes first (platonic-rep: 0.95)',
      decimal(0, 1),
    )
    .addOption(jsonOption())
    .addOption(backendOption())
    .addOption(threadsOption())
    .action(async (a, b, options) => {
      const { selectBackend } = await import('../lib/engine/index.js');
      const { compareFeatures } = await import('../lib/evaluation/compare-features.js');
      await selectBackend(options);
      for await (const result of compareFeatures(a, b, {
        metrics: options.metric,
        k: options.neighbours,
        clamp: options.clampOutliers,
      })) {
        const { metric, column, value, rows } = result;
        process.stdout.write(
          options.json ? `${JSON.stringify(result)}\n` : `${metric}  ${column}  ${value.toFixed(4)}  (${rows} rows)\n`,
        );
      }
    });
