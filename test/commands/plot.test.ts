import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { repa, temporaryFolder } from './binary.js';

/** A run's folder with the log of `values`, one each 10 steps of `seconds`, and a sheet of pictures at each. */
async function makeRun(cwd: string, name: string, values: readonly number[], seconds: number): Promise<void> {
  mkdirSync(path.join(cwd, name, 'samples'), { recursive: true });
  const lines = values.flatMap((value, i) => {
    const step = 10 * (i + 1);
    const picture = `samples/step-${step}.png`;
    return [
      { step, loss: value, seconds },
      { step, evaluation: 'samples', picture, FD: value },
    ];
  });
  writeFileSync(path.join(cwd, name, 'log.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  for (const i of values.keys()) {
    const background = { r: 40 * i, g: 100, b: 200 };
    await sharp({ create: { width: 20, height: 20, channels: 3, background } })
      .png()
      .toFile(path.join(cwd, name, `samples/step-${10 * (i + 1)}.png`));
  }
}

test('a speed-up is told and drawn, in steps and in seconds', async (t) => {
  const cwd = temporaryFolder(t);
  await makeRun(cwd, 'repa.1', [8, 4, 2], 2);
  await makeRun(cwd, 'plain', [9, 6, 4], 1);
  const plot = (...more: string[]) =>
    repa(['plot', 'repa.1', 'plain', '--field', 'FD', '--speed-up', 'plain', '-o', 'plot.svg', ...more], { cwd });
  const bySteps = await plot('--log', 'x,y');
  assert.equal(bySteps.code, 0, bySteps.stderr);
  assert.equal(bySteps.stderr, 'repa.1: FD 4, which plain has at 30, at 20: 1.50\u00d7 sooner\n');
  const svg = readFileSync(path.join(cwd, 'plot.svg'), 'utf8');
  for (const text of ['1.50\u00d7 sooner', 'steps of training', 'repa.1', 'plain', 'prefers-color-scheme: dark']) {
    assert.ok(svg.includes(text), text);
  }
  const bySeconds = await plot('--x', 'seconds');
  assert.equal(bySeconds.stderr, 'repa.1: FD 4, which plain has at 30, at 40: 0.75\u00d7 sooner\n');
});

test('a film strip has a row a run and a column a step', async (t) => {
  const cwd = temporaryFolder(t);
  await makeRun(cwd, 'repa', [8, 4, 2], 1);
  await makeRun(cwd, 'plain', [9, 6], 1);
  const { code, stderr } = await repa(['plot', 'repa', 'plain', '--film', '-o', 'film.png'], { cwd });
  assert.equal(code, 0, stderr);
  const { width, height } = await sharp(path.join(cwd, 'film.png')).metadata();
  assert.deepEqual([width, height], [2 * (30 + 2 * 210 + 10), 2 * (34 + 2 * 210 + 10)]);
  const { data, info } = await sharp(path.join(cwd, 'film.png')).raw().toBuffer({ resolveWithObject: true });
  const at = (x: number, y: number) => [...data.subarray((y * info.width + x) * info.channels).subarray(0, 3)];
  assert.deepEqual(at(2 * 140, 2 * 134), [0, 100, 200]); // the first frame of the first run
  assert.deepEqual(at(2 * 350, 2 * 344), [40, 100, 200]); // the second frame of the second run
});

test('curves along the blocks of results', async (t) => {
  const cwd = temporaryFolder(t);
  const lines = [1, 2, 3].flatMap((block) => [
    { metric: 'cknna', column: `hidden.b${block}.t0.5 ~ feature`, value: block / 10 },
    { metric: 'knn', column: `hidden.b${block}.t0.5`, accuracy: block / 10 },
  ]);
  writeFileSync(path.join(cwd, 'repa.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const { code, stderr } = await repa(['plot', 'repa.ndjson', '--by-block', '-o', 'blocks.svg'], { cwd });
  assert.equal(code, 0, stderr);
  const svg = readFileSync(path.join(cwd, 'blocks.svg'), 'utf8');
  for (const text of ['repa, t 0.5', 'cknna', 'knn', 'block']) assert.ok(svg.includes(`>${text}<`), text);
});

test('numbers that were not measured alike are refused, and drawn when asked', async (t) => {
  const cwd = temporaryFolder(t);
  const sampler = { mode: 'ode', steps: 25, cfg: 1, weights: 'ema 0.99', seed: 0 };
  const write = (name: string, protocol: Record<string, unknown>) => {
    const lines = [1, 2].map((step) => ({
      step,
      evaluation: 'samples',
      FID: 9 - step,
      count: 50,
      sampler,
      ...protocol,
    }));
    writeFileSync(path.join(cwd, name), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  };
  write('a.ndjson', {});
  write('same.ndjson', { sampler: { ...sampler, seed: 1, weights: 'ema 0.999' } });
  write('few.ndjson', { count: 10 });
  write('guided.ndjson', { sampler: { ...sampler, cfg: 1.5 } });
  write('raw.ndjson', { sampler: { ...sampler, weights: 'raw' } });
  const plot = (...more: string[]) => repa(['plot', 'a.ndjson', ...more, '--field', 'FID', '-o', 'x.svg'], { cwd });
  const report = (...more: string[]) => repa(['report', 'a.ndjson', ...more, '-o', 'x.html'], { cwd });
  for (const verb of [plot, report]) {
    assert.equal((await verb('same.ndjson')).code, 0);
    for (const [other, message] of [
      ['few', /samples was not measured alike: count is 50 in a, but 10 in few/],
      ['guided', /sampler\.cfg is 1 in a, but 1\.5 in guided/],
      ['raw', /sampler\.weights is "ema" in a, but "raw" in raw[\s\S]*--mixed/],
    ] as const) {
      const { code, stderr } = await verb(`${other}.ndjson`);
      assert.equal(code, 65, stderr);
      assert.match(stderr, message);
      assert.equal((await verb(`${other}.ndjson`, '--mixed')).code, 0);
    }
  }
  const results = [1, 2].map((cfg) => ({ metric: 'FID', value: 3, sampler: { ...sampler, cfg } }));
  writeFileSync(path.join(cwd, 'fid.ndjson'), results.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const { code, stderr } = await report('--results', 'fid.ndjson');
  assert.equal(code, 65);
  assert.match(stderr, /FID was not measured alike: sampler\.cfg is 1 in result 1, but 2 in result 2/);
});

test('where runs first have a value', async (t) => {
  const cwd = temporaryFolder(t);
  await makeRun(cwd, 'repa', [8, 4, 2], 1);
  await makeRun(cwd, 'plain', [9, 6, 4], 1);
  const { code, stderr } = await repa(['plot', 'repa', 'plain', '--field', 'FD', '--reach', '3', '-o', 'x.svg'], {
    cwd,
  });
  assert.equal(code, 0, stderr);
  assert.equal(stderr, 'repa: FD 3 at step 25\nplain: FD 3 is not reached\n');
});

test('what cannot be drawn is told', async (t) => {
  const cwd = temporaryFolder(t);
  await makeRun(cwd, 'a', [2, 1], 1);
  writeFileSync(path.join(cwd, 'bare.ndjson'), '{"step":1,"loss":2}\n');
  writeFileSync(path.join(cwd, 'broken.ndjson'), '{"step":1}\n[2\n');
  for (const [args, code, message] of [
    [['a', '-o', 'plot.jpg'], 2, /draws only \.png and \.svg/],
    [['nowhere', '-o', 'plot.svg'], 66, /nowhere: no such file/],
    [['a', '--field', 'FID', '-o', 'plot.svg'], 65, /no line has a number 'FID'/],
    [['broken.ndjson', '-o', 'plot.svg'], 65, /broken\.ndjson: line 2 is no JSON object/],
    [['a', '--field', 'FD', '--speed-up', 'b', '-o', 'plot.svg'], 2, /--speed-up b: none of the runs/],
    [['a', '--log', 'z', '-o', 'plot.svg'], 2, /The axes are x and y/],
    [['bare.ndjson', '--film', '-o', 'plot.svg'], 65, /its log names no pictures/],
    [['bare.ndjson', '--by-block', '-o', 'plot.svg'], 65, /no line is of a block/],
  ] as const) {
    const result = await repa(['plot', ...args], { cwd });
    assert.equal(result.code, code, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, message);
  }
});
