/** A small training run, for the tests of `repa train`. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { repa, temporaryFolder } from './binary.js';
import { makeImages, makeTensors } from './support.js';

/** Options of a model of 16 tokens and two blocks, trained fast enough for a test. */
export const MODEL = ['--depth', '2', '--width', '32', '--projector-dim', '16', '--align-depth', '1'];
export const RUN = ['--model', 'SiT-S/4', ...MODEL, '--batch-size', '4', '--lr', '1e-3', '--ema', '0.9'].concat(
  ['--log-every', '1', '--threads', '1'], // every step, and the same numbers on any machine
);

/** A folder with latents and features of 10 images; `plain` has no class tokens, and `narrow` has narrower ones. */
export async function prepared(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  const keys = await makeImages(path.join(cwd, 'imgs'), 10);
  const { code, stdout } = await repa(['encode-vae', 'imgs/', '--vae', 'pixels', '--size', '16'], { cwd });
  assert.equal(code, 0);
  writeFileSync(path.join(cwd, 'latents'), stdout);
  const patches = { name: 'feature', dtype: 'f32', shape: [16, 8] } as const;
  await makeTensors(path.join(cwd, 'feats'), keys, [patches, { name: 'cls', dtype: 'f32', shape: [8] }]);
  await makeTensors(path.join(cwd, 'plain'), keys, patches);
  await makeTensors(path.join(cwd, 'narrow'), keys, [patches, { name: 'cls', dtype: 'f32', shape: [6] }]);
  return cwd;
}

export type Entry = Record<string, number>;

export const parseLog = (text: string): Entry[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

/** What a log says of the numbers, without the times. */
export const numbers = (entries: Entry[]): Entry[] =>
  entries.map((entry) => Object.fromEntries(Object.entries(entry).filter(([name]) => !isTime(name))));

const isTime = (name: string): boolean => ['at', 'memory_bytes'].includes(name) || /seconds?$/.test(name);
