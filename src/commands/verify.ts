/** repa verify: reads every byte of tensor streams and says whether they can be trusted. */

import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { JSON_LINES } from '../lib/cli/shared-options.js';
import { inputOrStdin } from '../lib/cli/tensor-input.js';
import { printResult } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { EXIT, RepaError } from '../lib/errors.js';
import { firstNonFinite } from '../lib/numbers/finite.js';
import { openTensorStream } from '../lib/stream/reader.js';
import { type TensorBatch, toFloats } from '../lib/stream/rows.js';

const description = `Reads tensor streams from end to end and checks what can be checked: framing, checksums, order, the
end-of-stream marker, all parts of a shard folder, keys that occur twice, and values that are not finite.

Prints one line for each input. The exit status is 1 if any of them failed.`;

interface Verdict {
  path: string;
  ok: boolean;
  rows: number;
  problem?: string;
}

const examples = [{ why: 'before a long training run', command: 'repa verify latents feats && repa train' }];

export const command = verb({
  description,
  examples,
  operands: [operand('[streams...]', 'files, shard folders, or - for stdin (default: stdin)')],
  options: { json: JSON_LINES },
  run: async (paths, options) => {
    for (const path of paths.length > 0 ? paths : [inputOrStdin(undefined, 'stream')]) {
      const verdict = await verify(path);
      if (!verdict.ok) process.exitCode = EXIT.checkFailed;
      const words = verdict.ok ? `ok, ${verdict.rows} rows` : `FAILED: ${verdict.problem}`;
      printResult(verdict, `${path}: ${words}`, options.json);
    }
  },
});

async function verify(path: string): Promise<Verdict> {
  let rows = 0;
  try {
    const reader = await openTensorStream(path);
    for await (const batch of reader) {
      const problem = notFinite(batch);
      if (problem) return { path, ok: false, rows, problem };
      rows += batch.rows;
    }
  } catch (error) {
    if (!(error instanceof RepaError)) throw error;
    return { path, ok: false, rows, problem: (await holdsCheckpoints(path)) ? CHECKPOINTS : error.message };
  }
  return { path, ok: true, rows };
}

const CHECKPOINTS = 'holds checkpoints, no tensor stream; whatever reads them checks their SHA256SUMS';

async function holdsCheckpoints(folder: string): Promise<boolean> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return false;
  const { checkpointSteps } = await import('../lib/training/checkpoint.js');
  return existsSync(join(folder, 'config.json')) || checkpointSteps(folder).length > 0;
}

function notFinite(batch: TensorBatch): string | undefined {
  for (const name of Object.keys(batch.tensors)) {
    const stored = batch.tensors[name];
    const at = firstNonFinite(stored);
    if (at < 0) continue;
    const row = Math.floor((at * batch.rows) / stored.length);
    const [value] = toFloats(stored.subarray(at, at + 1));
    return `'${name}' of row ${batch.start + row} ('${batch.keys[row]}') holds ${value}`;
  }
  return undefined;
}
