import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { shell, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

/** As a full disk does, it stops a file in its middle: at 4 KiB. */
const SMALL = 'ulimit -f 4';

test('whoever cannot write the whole output names it, and leaves none of it', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 12, { side: 32 });
  const sample = `repa sample --ckpt ${fixtureWeightsFile('sit')} --heads 3 --num 8 --steps 2 -q`;
  const vae = `--vae-weights ${fixtureWeightsFile('vae')}`;
  const made = await shell('repa encode-vae imgs --vae pixels --size 32 -o latents', { cwd });
  assert.equal(made.code, 0, made.stderr);
  const before = readdirSync(cwd).sort();
  for (const [line, output] of [
    ['repa encode-vae imgs --vae pixels --size 32 -o out', 'out'],
    ['repa extract-dino imgs --encoder emoji-vit -o out', 'out'],
    [`${sample} --latents -o out`, 'out'],
    [`${sample} ${vae} --grid out.png`, 'out.png'],
    ['repa export latents -o out.npz', 'out.npz'],
    ['repa fid imgs --net emoji-vit --save-stats out.npz', 'out.npz'],
  ]) {
    const { code, stderr } = await shell(`${SMALL}; ${line}`, { cwd });
    assert.equal(code, 69, `${line}: ${stderr}`);
    assert.match(stderr, /a file grew past what the file system or ulimit -f allows: /);
    assert.ok(stderr.includes(output), stderr);
    assert.deepEqual(
      readdirSync(cwd)
        .filter((name) => name !== '.repa')
        .sort(),
      before,
      line,
    );
  }
  const parts = await shell(`${SMALL}; ${sample} --latents -o parts/`, { cwd });
  assert.equal(parts.code, 69, parts.stderr);
  assert.deepEqual(readdirSync(path.join(cwd, 'parts')), []);
  const cached = await shell(`${SMALL}; repa fid imgs imgs --net emoji-vit --json`, { cwd });
  assert.equal(cached.code, 0, cached.stderr);
  assert.match(cached.stderr, /the features of the reference could not be cached: EFBIG/);
  const kept = readdirSync(path.join(cwd, '.repa/cache'));
  assert.ok(
    kept.every((name) => name.startsWith('content-')),
    kept.join(),
  );
});
