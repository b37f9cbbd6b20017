/** Every preset: trained, continued, sampled, exported, imported and sampled again. In one process, as each step is small. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { verbs } from '../../src/commands/index.js';
import { commandOf } from '../../src/lib/cli/command.js';
import { PRESETS } from '../../src/lib/repa/methods.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { toFloats } from '../../src/lib/stream/rows.js';
import { temporaryFolder } from '../support.js';
import { makeImages, makeTensors } from './support.js';
import { parseLog, RUN } from './training-run.js';

/** What a network of 16 tokens needs besides. */
const MORE: Record<string, string[]> = {
  redi: ['--representation-channels', '3'],
  sfd: ['--representation-channels', '3'],
  tread: ['--depth', '4'],
  sprint: ['--depth', '5'],
  'sprint-2': ['--depth', '5'],
  'sr-dit': ['--depth', '5'],
  jit: ['--bottleneck', '8', '--context-tokens', '2'],
  rae: ['--wide-head', '1x32x2'],
};

const cwd = temporaryFolder();

/** Runs a verb here. What it prints goes among the results of the tests, which does them no harm. */
async function repa(name: string, ...args: string[]): Promise<void> {
  const entry = verbs.find((verb) => verb.name === name)!;
  const command = commandOf(entry, await entry.load()).exitOverride();
  await command.parseAsync([...args, '--quiet'], { from: 'user' });
}

before(async () => {
  process.chdir(cwd);
  const keys = await makeImages('imgs', 10);
  await repa('encode-vae', 'imgs/', '--vae', 'pixels', '--size', '16', '-o', 'latents');
  const patches = { name: 'feature', dtype: 'f32', shape: [16, 8] } as const;
  await makeTensors('feats', keys, [patches, { name: 'cls', dtype: 'f32', shape: [8] }]);
});

async function latents(file: string): Promise<number[]> {
  const values: number[] = [];
  for await (const { tensors } of await openTensorStream(file)) values.push(...toFloats(tensors.latent));
  return values;
}

for (const preset of PRESETS.keys()) {
  test(`preset ${preset}`, async () => {
    const run = ['train', ...RUN, '--preset', preset, ...(MORE[preset] ?? []), '--out', preset];
    for (const steps of ['2', '3']) await repa(run[0], ...run.slice(1), '--steps', steps);
    const log = parseLog(readFileSync(path.join(preset, 'log.ndjson'), 'utf8'));
    assert.deepEqual(
      log.map(({ step }) => step),
      [1, 2, 3],
    );
    assert.ok(log.every(({ loss }) => Number.isFinite(loss)));
    await repa('export', preset, '-o', `${preset}.safetensors`);
    await repa('import', `${preset}.safetensors`, '-o', `${preset}-imported`);
    for (const ckpt of [preset, `${preset}-imported`]) {
      await repa('sample', '--ckpt', ckpt, '--num', '1', '--steps', '2', '--latents', '-o', `${ckpt}.arrow`);
    }
    assert.deepEqual(await latents(`${preset}-imported.arrow`), await latents(`${preset}.arrow`));
  });
}
