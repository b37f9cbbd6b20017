/** repa encode-text: captions to a stream of vectors. */

import { Progress } from '../lib/cli/progress.js';
import { provenance } from '../lib/cli/provenance.js';
import { batchSize, DTYPE, ENGINE, OUT } from '../lib/cli/shared-options.js';
import { checkBinaryOutput, writeStream } from '../lib/cli/tensor-output.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError } from '../lib/errors.js';
import { text } from '../lib/options/option.js';

const description = `Runs the text tower of a CLIP over captions, once, and keeps a vector for each token: what a network that draws
from text is conditioned on. Captions come with pictures: as a metadata.jsonl or .csv (file_name, and text or caption) or a .txt beside each in
their folder, as a .json of captions, or lists of them, by the pictures' keys, or as COCO's captions_*.json. A .txt file has a caption a
line, for sampling.

Rows are captions: the third one of a picture has its key with #2 behind it. The last row, #, is the empty caption, which stands for
the null condition.

The vocabulary is vocab.json and merges.txt, published beside the weights; repa pull clip-vocabulary clip-merges fetches them.`;

const examples = [
  { why: 'the captions of a folder of pictures', command: 'repa encode-text imgs/ > text' },
  { why: "COCO's", command: 'repa encode-text annotations/captions_train2014.json -o text/' },
  {
    why: 'prompts to sample from, with weights that lie here',
    command: 'repa encode-text prompts.txt --weights clip/model.safetensors --tokenizer clip/ > prompts',
  },
];

export const command = verb({
  description,
  examples,
  operands: [
    operand('<captions>', 'a folder of pictures with captions, a .jsonl, .json or .txt, or - for lines on stdin'),
  ],
  options: {
    encoder: text('--encoder <name>', 'name of the CLIP', { default: 'clip-vit-l' }),
    weights: text('--weights <file>', 'its weights'),
    tokenizer: text('--tokenizer <folder>', 'where vocab.json and merges.txt are', {
      defaultText: 'beside the weights, or where repa pull put them',
    }),
    dtype: DTYPE,
    batchSize: batchSize(8),
    out: OUT,
    ...ENGINE,
  },
  run: async (input, options) => {
    checkBinaryOutput(options);
    const { captionRows, readCaptions } = await import('../lib/images/captions.js');
    const { engineEntry, selectBackend } = await import('../lib/engine/select.js');
    const { openTextEncoder } = await import('../lib/pretrained/text-encoder.js');
    const { firstNonFinite } = await import('../lib/numbers/finite.js');

    const rows = captionRows(readCaptions(input));
    await selectBackend(options);
    const encoder = await openTextEncoder(options);
    const { tokens, dim } = encoder;
    const schema = {
      columns: [{ name: 'text', dtype: options.dtype, shape: [tokens, dim], dimNames: ['tokens', 'dim'] }] as const,
      metadata: provenance('text', {
        ...encoder.metadata,
        'repa.engine': engineEntry(),
      }),
    };
    const progress = new Progress('encode-text', { unit: 'captions', total: rows.length, quiet: options.quiet });
    await writeStream(options, schema, async (writer) => {
      for (let start = 0; start < rows.length; start += options.batchSize) {
        const batch = rows.slice(start, start + options.batchSize);
        const vectors = encoder.encode(batch.map(({ caption }) => caption)); // [N, T, D]
        if (firstNonFinite(vectors) >= 0) throw new DataError(`${encoder.name} gives NaN or infinity: it is damaged`);
        for (const [row, { key }] of batch.entries()) {
          await writer.append(key, -1, { text: vectors.subarray(row * tokens * dim, (row + 1) * tokens * dim) });
        }
        progress.advance(batch.length);
      }
    });
    encoder.dispose();
    progress.finish();
  },
});
