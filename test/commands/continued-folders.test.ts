/** Folders of parts are continued only where every fact that their values depend on is the same. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openTensorFile } from '../../src/lib/stream/file.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa, temporaryFolder } from './binary.js';
import { makeImages } from './support.js';

test('a part is added to a folder only by the job that began it', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 4, { side: 8 });
  const part = (index: number, ...more: string[]) => {
    const args = ['encode-vae', 'imgs', '--vae', 'pixels', '--size', '8', '--threads', '1', '-q', '-o', 'z/'];
    return repa([...args, '--shard', `${index}/2`, ...more], { cwd });
  };
  assert.equal((await part(0)).code, 0);
  const { metadata } = (await openTensorStream(path.join(cwd, 'z/part-00000-of-00002.arrows'))).schema;
  assert.match(metadata['repa.engine'], /^onnx \d/);
  const refused = async (message: RegExp, ...more: string[]) => {
    const { code, stderr } = await part(1, ...more);
    assert.equal(code, 65, stderr);
    assert.match(stderr, message);
    assert.deepEqual(readdirSync(path.join(cwd, 'z')), ['part-00000-of-00002.arrows']);
  };
  await refused(/it holds latent: f16 \[3, 8, 8\], now latent: f32/, '--dtype', 'f32');
  await refused(/it holds latent: f16 \[3, 8, 8\], now latent: f16 \[3, 4, 4\]/, '--size', '4');
  const [first] = readdirSync(path.join(cwd, 'imgs/class0'));
  const bytes = readFileSync(path.join(cwd, 'imgs/class0', first));
  writeFileSync(path.join(cwd, 'imgs/class0/more.png'), bytes);
  await refused(/repa\.images\.sha256 is/);
  rmSync(path.join(cwd, 'imgs/class0/more.png'));
  const { code, stderr } = await part(1);
  assert.equal(code, 0, stderr);
  // Of other pictures, but of one meaning.
  await makeImages(path.join(cwd, 'more'), 2, { side: 8 });
  const more = ['encode-vae', 'more', '--vae', 'pixels', '--size', '8', '-q', '-o', 'more.arrows'];
  assert.equal((await repa(more, { cwd })).code, 0);
  const joined = await repa(['cat', 'z', 'more.arrows', '-o', 'all'], { cwd });
  assert.doesNotMatch(joined.stderr, /repa\.images|repa\.engine/);
});

test('what is not made in parts is written anew, and no other result is taken for it', async (t) => {
  const cwd = temporaryFolder(t);
  await makeImages(path.join(cwd, 'imgs'), 4, { side: 8 });
  const rowsOf = async (...args: string[]): Promise<number> => {
    const { code, stderr } = await repa([...args, '-q', '-o', 'out/'], { cwd });
    assert.equal(code, 0, stderr);
    return (await openTensorFile(path.join(cwd, 'out'))).rows;
  };
  assert.equal(await rowsOf('import', 'imgs'), 4);
  assert.equal(await rowsOf('head', '-n', '3', 'out'), 3, 'of itself');
  assert.equal(await rowsOf('head', '-n', '2', 'out'), 2);
});
