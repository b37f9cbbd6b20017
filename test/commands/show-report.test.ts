import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { PROGRAM, repa, shell, temporaryFolder } from './binary.js';
import { makeImages, makeTensors } from './support.js';

test('images are shown in the colours of the terminal, or by name where there are none', async (t) => {
  const cwd = temporaryFolder(t);
  mkdirSync(path.join(cwd, 'imgs'));
  const background = { r: 10, g: 200, b: 30 };
  await sharp({ create: { width: 4, height: 4, channels: 3, background } })
    .png()
    .toFile(path.join(cwd, 'imgs/a.png'));
  await makeImages(path.join(cwd, 'imgs'), 3, { side: 40 });
  const show = async (env: Record<string, string>, ...args: string[]) => {
    const { code, stdout, stderr } = await repa(['show', 'imgs', ...args], { cwd, env });
    assert.equal(code, 0, stderr);
    return stdout.toString().trimEnd().split('\n');
  };
  const plain = await show({ NO_COLOR: '1' });
  assert.deepEqual(plain, ['a.png', 'class0/000.png  class 0', 'class0/002.png  class 0', 'class1/001.png  class 1']);
  const coloured = await show({ FORCE_COLOR: '3', NO_COLOR: '' }, '--num', '2', '--columns', '10');
  const pixels = '\u001b[38;2;10;200;30m\u001b[48;2;10;200;30m\u2580\u001b[49m\u001b[39m';
  // 4 x 4 pixels are 2 lines of 4 characters; 40 x 40 in 10 columns are 5 lines.
  assert.deepEqual(coloured.slice(0, 3), [pixels.repeat(4), pixels.repeat(4), 'a.png']);
  assert.equal(coloured.length, 3 + 6);
});

test('a sheet of the first images of a stream, and inputs that hold none', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 5, { side: 24 });
  const line = 'repa encode-vae imgs --vae pixels --size 24 | repa decode-vae | repa show --num 4 --grid sheet.png';
  const { code, stderr } = await shell(line, { cwd });
  assert.equal(code, 0, stderr);
  const { width, height } = await sharp(path.join(cwd, 'sheet.png')).metadata();
  assert.deepEqual([width, height], [2 * 26 + 2, 2 * 26 + 2]);
  mkdirSync(path.join(cwd, 'empty'));
  const empty = await repa(['show', 'empty'], { cwd });
  assert.equal(empty.code, 65);
  assert.match(empty.stderr, /empty: holds no images/);
});

test('a report holds the settings, the log, the pictures and the numbers of a run', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 6, { side: 16 });
  const train =
    'repa train --lambda 0 --model SiT-S/4 --depth 2 --width 32 --heads 2 --batch-size 2 --steps 3 --log-every 1';
  const lines = `repa encode-vae imgs --vae pixels --size 16 -o latents && ${train} && repa show imgs --grid sheet.png`;
  const made = await shell(lines, { cwd });
  assert.equal(made.code, 0, made.stderr);
  const result = { metric: 'FD(</script><net>)', value: 12.3456789, sampler: { steps: 250 }, decoder: null };
  writeFileSync(path.join(cwd, 'fid.ndjson'), `${JSON.stringify(result)}\n\n`);
  const args = ['report', 'ckpt', '--results', 'fid.ndjson', '--picture', 'sheet.png', '-o', 'run.html'];
  const { code, stderr } = await repa(args, { cwd });
  assert.equal(code, 0, stderr);
  const page = readFileSync(path.join(cwd, 'run.html'), 'utf8');
  const [, json] = /<script type="application\/json" id="view">(.*)<\/script>/.exec(page)!;
  const { title, live, runs, results, pictures } = JSON.parse(json);
  assert.deepEqual([title, live, runs.length], ['ckpt', false, 1]);
  assert.deepEqual(results, [result]);
  const [{ config, lines: log }] = runs;
  assert.equal(config.model.hiddenSize, 32);
  assert.deepEqual(
    log,
    readFileSync(path.join(cwd, 'ckpt/log.ndjson'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line)),
  );
  const sheet = readFileSync(path.join(cwd, 'sheet.png')).toString('base64');
  assert.deepEqual(pictures, [{ name: 'sheet.png', uri: `data:image/png;base64,${sheet}` }]);
  assert.doesNotMatch(page, /(src|href)="http/);
  assert.equal(page.match(/<\/script>/g)?.length, 2, 'a name that ends the script element is escaped');

  writeFileSync(path.join(cwd, 'broken'), '{"metric":"FID"}\n[1]\n');
  for (const [more, expected, message] of [
    [['--results', 'broken'], 65, /broken: line 2 is no JSON object/],
    [['--results', 'nowhere'], 66, /nowhere: no such file/],
    [['--picture', 'nowhere.png'], 66, /nowhere\.png/],
    [['no-such-run'], 66, /no-such-run: no such run/],
  ] as const) {
    const outcome = await repa(['report', 'ckpt', ...more], { cwd });
    assert.equal(outcome.code, expected, outcome.stderr);
    assert.match(outcome.stderr, message);
  }
});

test('tokens are shown as colours', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = ['a', 'b', 'c'];
  await makeTensors(path.join(cwd, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] });
  const { code, stderr } = await repa(['show', 'feats', '--pca', '--grid', 'sheet.png'], { cwd });
  assert.equal(code, 0, stderr);
  const { width, height } = await sharp(path.join(cwd, 'sheet.png')).metadata();
  assert.deepEqual([width, height], [2 * 66 + 2, 2 * 66 + 2]); // three pictures of 4 x 4 cells of 16 pixels
  const other = await repa(['show', 'feats', '--pca', '--column', 'hidden'], { cwd });
  assert.equal(other.code, 65);
  assert.match(other.stderr, /feats: has no tokens 'hidden' on a square grid/);
});

test('runs in the terminal are drawn within its lines, their pictures side by side; a page is served until ^C', async (t) => {
  const cwd = temporaryFolder(t);
  for (const name of ['a', 'b']) {
    mkdirSync(path.join(cwd, name, 'samples'), { recursive: true });
    const lines = [1, 2, 3].map((step) => `${JSON.stringify({ step, velocity_loss: 1 / step })}\n`);
    writeFileSync(path.join(cwd, name, 'log.ndjson'), lines.join(''));
    const picture = sharp({ create: { width: 200, height: 200, channels: 3, background: '#c33' } });
    await picture.png().toFile(path.join(cwd, name, 'samples/step-00000003.png'));
  }
  // What is drawn until it is cleared for the second time; a terminal that does not tell its size has 24 lines.
  const frame = `awk '/\\033\\[2J/ && ++n == 2 { exit } { print }'`;
  const env = { FORCE_COLOR: '3', NO_COLOR: '' };
  const { stdout } = await shell(`repa watch a b --tty | ${frame}`, { cwd, env });
  const lines = stdout.toString().trimEnd().split('\n');
  assert.ok(lines.length <= 24, `${lines.length} lines`);
  const pixels = lines.filter((line) => line.includes('\u2580'));
  assert.ok(pixels.length >= 6);
  assert.match(pixels[0], /\u2580.* {2}.*\u2580/);

  const page = spawn(process.execPath, [PROGRAM, 'watch', 'a'], { cwd });
  page.stdout.once('data', () => page.kill('SIGINT')).resume();
  const words = (await page.stderr.toArray()).join('');
  assert.deepEqual(
    [page.signalCode ?? (await once(page, 'exit'))[1], words],
    ['SIGINT', ''],
    '^C ends it, as help says',
  );
});
