/** repa merge-stats: statistics of parts of a set to those of the whole. */

import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { text } from '../lib/options/option.js';

const description = `Merges statistics that repa fid --save-stats wrote of parts of a set of images into the statistics of the whole
set. The result is the one that measuring all images at once gives, whatever the parts and their order. Parts that
were measured with different networks, resizes or image sizes are refused.`;

const examples = [
  {
    why: 'a reference made by four processes',
    command:
      'for i in 0 1 2 3; do repa fid imagenet/train --size 256 --shard $i/4 --save-stats part-$i.npz & done; wait; repa merge-stats part-*.npz -o ref.npz',
  },
];

export const command = verb({
  description,
  examples,
  operands: [operand('<files...>', '.npz files of statistics')],
  options: {
    out: text('-o, --out <file.npz>', 'write the statistics of the whole here', { required: true, writes: 'seekable' }),
  },
  run: async (files, options) => {
    const { selectBackend } = await import('../lib/engine/index.js');
    const { mergeStatistics } = await import('../lib/evaluation/merge-statistics.js');
    await selectBackend();
    const count = await mergeStatistics(files, options.out);
    if (!options.quiet) say(`${options.out}: statistics of ${count} images`);
  },
});
