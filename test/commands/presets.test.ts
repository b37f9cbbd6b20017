/**
 * Every preset: trained, its terms logged, continued, sampled, exported, imported and sampled again. In one process, as
 * each step is small.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { PRESETS } from '../../src/lib/repa/methods.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { toFloats } from '../../src/lib/stream/rows.js';
import { temporaryFolder } from '../support.js';
import { runVerb } from './in-process.js';
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
  'rae-2': ['--wide-head', '1x32x2', '--internal-block', '1'],
};

/** The terms of each, as the log has them, and their weights in the loss. */
const TERMS: Record<string, Record<string, number>> = {
  repa: { projection: 0.5 },
  irepa: { projection: 1 },
  'u-repa': { projection: 0.5, manifold: 1.5 },
  haste: { projection: 0.5 },
  redi: { representation: 1 },
  reg: { class_token: 0.03, projection: 0.5 },
  'delta-fm': { contrastive: -0.05, projection: 0.5 },
  'layer-sync': { layer_sync: 0.2 },
  dispersive: { dispersive: 0.5 },
  tread: { projection: 0.5 },
  sprint: { projection: 0.5 },
  'sprint-2': { projection: 0.5 },
  sra: { self_alignment: 0.2 },
  'internal-guidance': { internal: 0.5 },
  'self-flow': { self_flow: 0.5 },
  'sra-2': { latent_alignment: 1 },
  sit: {},
  'lightning-dit': { direction: 1 },
  sfd: { representation: 1, direction: 1, projection: 1 },
  jit: {},
  'pixel-repa': { adapter: 0.1 },
  rae: {},
  'rae-2': { internal: 1 },
  rjf: {},
  'sr-dit': { class_token: 0.03, contrastive: -0.05, projection: 0.5 },
};

const cwd = temporaryFolder();

/** What it prints goes among the results of the tests, which does them no harm. */
const repa = (name: string, ...args: string[]): Promise<void> => runVerb(name, args);

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

test('each has its terms here', () => assert.deepEqual(Object.keys(TERMS).sort(), [...PRESETS.keys()].sort()));

for (const preset of PRESETS.keys()) {
  test(`preset ${preset}`, async () => {
    const run = ['train', ...RUN, '--preset', preset, ...(MORE[preset] ?? []), '--out', preset];
    for (const steps of ['2', '3']) await repa(run[0], ...run.slice(1), '--steps', steps);
    const log = parseLog(readFileSync(path.join(preset, 'log.ndjson'), 'utf8'));
    assert.deepEqual(
      log.map(({ step }) => step),
      [1, 2, 3],
    );
    const terms = Object.entries({ velocity: 1, ...TERMS[preset] });
    for (const entry of log) {
      assert.deepEqual(
        Object.keys(entry).filter((field) => field.endsWith('_loss')),
        terms.map(([term]) => `${term}_loss`),
      );
      const sum = terms.reduce((total, [term, weight]) => total + weight * entry[`${term}_loss`], 0);
      assert.ok(Math.abs(entry.loss - sum) < 1e-5, `${entry.loss} is not ${sum}`);
    }
    await repa('export', preset, '-o', `${preset}.safetensors`);
    await repa('import', `${preset}.safetensors`, '-o', `${preset}-imported`);
    for (const ckpt of [preset, `${preset}-imported`]) {
      await repa('sample', '--ckpt', ckpt, '--num', '1', '--steps', '2', '--latents', '-o', `${ckpt}.arrow`);
    }
    assert.deepEqual(await latents(`${preset}-imported.arrow`), await latents(`${preset}.arrow`));
  });
}

test('SPRINT: the second stage goes on from the first, with all tokens, and warms up', async () => {
  const run = ['train', ...RUN, '--depth', '5', '--lambda', '0'];
  await repa(run[0], ...run.slice(1), '--preset', 'sprint', '--steps', '2', '--out', 'first');
  const second = ['--preset', 'sprint-2', '--init', 'first', '--init-raw', '--warmup', '4', '--out', 'second'];
  for (const steps of ['1', '3']) await repa(run[0], ...run.slice(1), ...second, '--steps', steps);
  const log = parseLog(readFileSync('second/log.ndjson', 'utf8'));
  assert.deepEqual(
    log.map((entry) => entry.learning_rate),
    [0.25e-3, 0.5e-3, 0.75e-3],
  );
  const { methods, origin } = JSON.parse(readFileSync('second/step-0000003/config.json', 'utf8'));
  assert.deepEqual([methods.sprint.share, methods.sprint.groups, methods.sprint.pathDrop], [0, false, 0.1]);
  assert.deepEqual([origin.fresh, origin.left, origin.adapted], [[], [], []]);
  const guided = ['--ckpt', 'second', '--cfg', '3', '--path-drop-guidance', '--mode', 'sde'];
  await repa('sample', ...guided, '--num', '1', '--steps', '2', '--latents', '-o', 'guided');
  assert.ok((await latents('guided')).every(Number.isFinite));
});
