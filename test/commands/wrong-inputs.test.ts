/**
 * Each verb is given what it cannot take, in each place where it takes something: it says so, and never calls it a bug.
 */
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { CommanderError } from 'commander';
import { verbs } from '../../src/commands/index.js';
import { commandOf } from '../../src/lib/cli/command.js';
import { diskProblem, EXIT, pathProblem, RepaError } from '../../src/lib/errors.js';
import { temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

const MODEL = [
  '--model',
  'SiT-S/4',
  '--depth',
  '1',
  '--width',
  '16',
  '--heads',
  '2',
  '--batch-size',
  '2',
  '--steps',
  '1',
];
const TRAIN = ['train', ...MODEL, '--align-depth', '1', '--out', 'run'];

/** Lines of which X is what is wrong. */
const LINES: string[][] = [
  ['cat', 'X', '-o', 'out'],
  ['cat', 'latents', 'X', '-o', 'out'],
  ['cknna', 'X', 'feats'],
  ['cknna', 'feats', 'X'],
  ['decode-vae', 'X', '--vae', 'pixels', '-o', 'out'],
  ['decode-vae', 'latents', '--weights', 'X', '-o', 'out'],
  ['diff', 'X', 'latents'],
  ['ema', 'X', '--sigma', '0.05', '-o', 'out'],
  ['encode-vae', 'X', '--vae', 'pixels', '--size', '8', '-o', 'out'],
  ['encode-vae', 'feats', '--weights', 'X', '-o', 'out'],
  ['export', 'X', '-o', 'out.pt'],
  ['export', 'X', '-o', 'out.safetensors'],
  ['export', 'X', '-o', 'out.npz'],
  ['export', 'X', '-o', 'out/'],
  ['export', 'X', '--to', 'csv', '-o', 'out.csv'],
  ['extract-dino', 'X', '--encoder', 'emoji-vit', '-o', 'out'],
  ['extract-hidden', '--ckpt', 'X', '-o', 'out'],
  ['fid', 'X', '--ref', 'feats', '--net', 'emoji-vit'],
  ['head', 'X', '-o', 'out'],
  ['import', 'X', '-o', 'out'],
  ['info', 'X'],
  ['join', 'latents', 'X', '-o', 'out'],
  ['merge-stats', 'X', '-o', 'out'],
  ['plot', 'X', '-o', 'out.svg'],
  ['probe', 'X'],
  ['report', 'X', '-o', 'out.html'],
  ['sample', '--ckpt', 'X', '--num', '1', '-o', 'out'],
  ['select', 'X', '--label', '0', '-o', 'out'],
  ['shuf', 'X', '-o', 'out'],
  ['split', 'X', '--share', '0.5', '-o', 'out', '--rest', 'rest'],
  ['tail', 'X', '-o', 'out'],
  [...TRAIN, '--lambda', '0', '--latents', 'X'],
  [...TRAIN, '--feats', 'X'],
  [...TRAIN, '--lambda', '0', '--init', 'X'],
  ['verify', 'X'],
  // As outputs.
  ['cat', 'latents', '-o', 'X/below'],
  ['export', 'latents', '-o', 'X/below.npy'],
  [...TRAIN, '--lambda', '0', '--out', 'X/below', '--latents', 'nowhere'],
];
const WRONG = ['folder', 'empty', 'text', 'dangling', '/dev/null', 'text/below', 'images'];

/** Whether main says what is wrong, and does not call it a bug. */
const isTold = (error: unknown): boolean =>
  error instanceof RepaError ||
  error instanceof CommanderError ||
  (error as NodeJS.ErrnoException).code === 'ENOENT' ||
  (pathProblem(error) ?? diskProblem(error)) !== undefined;

/** Runs a line in this process, with nothing printed. @returns what it threw */
async function thrown([name, ...args]: string[]): Promise<unknown> {
  const entry = verbs.find((each) => each.name === name)!;
  const command = commandOf(entry, await entry.load());
  command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  const streams = [process.stdout, process.stderr];
  const writes = streams.map((stream) => stream.write);
  for (const stream of streams) stream.write = () => true;
  try {
    await command.parseAsync(args, { from: 'user' });
    // verify says by the code alone that something is wrong.
    return process.exitCode === EXIT.checkFailed ? new RepaError(EXIT.checkFailed, 'verify') : undefined;
  } catch (error) {
    return error;
  } finally {
    for (const [i, stream] of streams.entries()) stream.write = writes[i];
    process.exitCode = undefined;
  }
}

test('what a verb cannot take is told', async (t) => {
  const cwd = temporaryFolder(t);
  const before = process.cwd();
  process.chdir(cwd);
  t.after(() => process.chdir(before));
  mkdirSync('folder');
  writeFileSync('empty', '');
  writeFileSync('text', 'hello\nworld\n');
  symlinkSync('nowhere', 'dangling');
  const scale = { 'repa.latent.scale': '[1]' };
  await makeTensors('latents', ['a', 'b'], { name: 'latent', dtype: 'f32', shape: [3, 8, 8] }, scale);
  await makeTensors('feats', ['a', 'b'], { name: 'feature', dtype: 'f32', shape: [4, 6] });
  await makeTensors('images', ['a', 'b'], { name: 'image', dtype: 'f32', shape: [8, 8, 3] });
  const accepted: string[] = [];
  for (const line of LINES) {
    for (const wrong of WRONG) {
      const args = line.map((word) => word.replace(/^X/, wrong));
      const error = await thrown(args);
      if (error === undefined) accepted.push(args.join(' '));
      assert.ok(error === undefined || isTold(error), `repa ${args.join(' ')}: ${(error as Error)?.stack}`);
    }
  }
  // A stream of another kind may be a stream all the same; nothing else was taken but an empty log, and a folder to
  // write into.
  assert.deepEqual(
    accepted.filter((line) => !/\bimages\b/.test(line)),
    ['report empty -o out.html', 'cat latents -o folder/below', 'export latents -o folder/below.npy'],
  );
});
