/** repa info: what a file or a folder is, and how it was made. */

import { JSON_LINES } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';

const description = `Says what a file or a folder holds and how it was made: the command, the model and its hash, the preprocessing, the sampler; of a
run its settings, how far it is and what was measured last. It reads tensor streams and shard folders, training folders, checkpoints
and logs, weights (safetensors, PyTorch), .npy and .npz, ONNX, folders, tars and zips of pictures, Parquet, pictures, and event files of
TensorBoard. Only headers are read, and of an archive its list; of a tar, that is all of it.

Names that differ in a number alone are told in one line; --json has all of them.`;

const examples = [
  { why: 'how these latents were made', command: 'repa info latents' },
  { why: 'what is coming through a pipe', command: 'repa sample --num 4 | repa info' },
  { why: 'the settings of a run, for a script', command: 'repa info ckpt --json | jq .training' },
  { why: 'what somebody has saved', command: 'repa info checkpoint.pt' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[path]', 'a file or a folder, or - for a stream on stdin')],
  options: { json: JSON_LINES },
  run: async (given, options) => {
    const { describe } = await import('../lib/contents/index.js');
    const { factLines } = await import('../lib/contents/facts.js');
    const facts = await describe(inputOrStdin(given, 'file'));
    printResult(facts, factLines(facts).join('\n'), options.json);
  },
});
