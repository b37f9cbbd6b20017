/** Two small sets of images, and what repa fid measures of them. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { repa, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

/** A folder with `samples` and `reference`: 12 images of 32 pixels each. */
export async function sets(t: TestContext): Promise<string> {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'repa.toml'), '[fid]\nnet = "emoji-vit"\nbatch-size = 8\nthreads = 1\n');
  await makeImages(path.join(cwd, 'samples'), 12, { side: 32 });
  await makeImages(path.join(cwd, 'reference'), 12, { side: 32, classes: 7 });
  return cwd;
}

/** Runs a verb that has to succeed; with --json, its objects. */
export async function run(cwd: string, ...args: string[]) {
  const { code, stdout, stderr } = await repa(args, { cwd });
  assert.equal(code, 0, `${args.join(' ')}\n${stderr}`);
  const lines = stdout.toString().split('\n').filter(Boolean);
  return { results: args.includes('--json') ? lines.map((line) => JSON.parse(line)) : [], stderr };
}

/** The first number that repa fid gives. */
export const distance = async (cwd: string, ...args: string[]): Promise<number> =>
  (await run(cwd, 'fid', ...args, '--json')).results[0].value;

export const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-9 * b;
