import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { findPlugin } from '../../../src/lib/engine/xla/plugin.js';
import { pullPlugin } from '../../../src/lib/hub/plugins.js';
import { temporaryFolder } from '../../support.js';
import { serveIndex } from './wheel-server.js';
import { type MadeWheel, type WheelFile, wheel } from './wheels.js';

const LIBRARY = { data: 'a library '.repeat(2000) };
const MACHINE =
  process.platform === 'darwin'
    ? 'macosx_11_0_universal2'
    : `manylinux2014_${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`;
const TAGS = `py3-none-${MACHINE}`;

/** The packages of CUDA's plugin, as their makers divide them. */
function published(plugin: Record<string, WheelFile> = {}): MadeWheel[] {
  return [
    wheel('jax-cuda13-plugin', '0.12.0', { 'jax_cuda13_plugin/code.py': { data: 'raise Exception' } }, [
      'jax-cuda13-pjrt==0.12.0',
      'nvidia-cublas<14,>=13.0; extra == "with-cuda"',
      "nvidia-cuda-nvcc>=13; sys_platform != 'win32' and extra == 'with-cuda'",
      'somebody-else; extra == "other"',
    ]),
    wheel('jax-cuda13-plugin', '0.13.0rc1', {}),
    wheel('jax-cuda13-pjrt', '0.11.0', {}, [], TAGS),
    wheel('jax-cuda13-pjrt', '0.12.0', { 'jax_plugins/xla_cuda13/xla_cuda_plugin.so': LIBRARY, ...plugin }, [], TAGS),
    wheel('jax-cuda13-pjrt', '0.12.0', {}, [], 'py3-none-win_amd64'),
    wheel('nvidia-cublas', '13.2', { 'nvidia/cu13/lib/libcublas.so.13': LIBRARY }),
    wheel('nvidia-cublas', '13.10', { 'nvidia/cu13/lib/libcublas.so.13': LIBRARY }, ['nvidia-cuda-nvcc<13.2']),
    wheel('nvidia-cublas', '14.0', {}),
    wheel('nvidia-cuda-nvcc', '13.1', { 'nvidia/cu13/bin/ptxas': { data: 'a program', mode: 0o100744 } }),
    wheel('nvidia-cuda-nvcc', '13.2', {}),
  ];
}

const quiet = () => () => {};

describe('a plugin that is pulled', () => {
  const homes = temporaryFolder(); // called within beforeEach, it would never be removed
  beforeEach(() => {
    process.env.REPA_HOME = mkdtempSync(path.join(homes, 'home-'));
    process.env.PIP_CONFIG_FILE = '/dev/null';
    for (const name of ['REPA_PJRT_PLUGIN', 'PIP_EXTRA_INDEX_URL', 'UV_INDEX', 'UV_EXTRA_INDEX_URL'])
      delete process.env[name];
  });
  const home = () => path.join(process.env.REPA_HOME!, 'plugins');

  for (const json of [true, false]) {
    test(`comes with what it requires, from pages of ${json ? 'JSON' : 'HTML'}, over connections that break`, async () => {
      const wheels = published();
      const withMetadata = wheels.filter((_, i) => i % 2 === 1).map(({ name }) => name);
      const { address, asked } = await serveIndex(wheels, { json, withMetadata, breaks: true });
      process.env.PIP_INDEX_URL = address;
      const begun: string[] = [];
      const pulled = await pullPlugin('xla-cuda13', (file) => {
        begun.push(file);
        return () => {};
      });
      const folder = path.join(home(), 'xla-cuda13');
      assert.deepEqual(pulled, {
        name: 'xla-cuda13',
        path: path.join(folder, 'jax_plugins/xla_cuda13/xla_cuda_plugin.so'),
        fetched: true,
      });
      assert.equal(readFileSync(pulled.path, 'utf8'), LIBRARY.data);
      assert.ok(statSync(path.join(folder, 'nvidia/cu13/bin/ptxas')).mode & 0o100);
      assert.ok(!(statSync(pulled.path).mode & 0o100));
      assert.ok(!existsSync(path.join(folder, 'jax_cuda13_plugin')));
      const origin = JSON.parse(readFileSync(path.join(folder, 'wheels.json'), 'utf8')) as { version: string }[];
      assert.deepEqual(
        origin.map(({ version }) => version),
        ['0.12.0', '13.10', '13.1'],
      );
      assert.deepEqual(readdirSync(path.join(home(), '.wheels')), []);
      assert.equal(new Set(begun).size, begun.length);
      assert.ok(asked.some(({ headers }) => headers.range !== undefined));
      const secret = `Basic ${Buffer.from('reader:s@fe').toString('base64')}`;
      assert.ok(asked.every(({ headers }) => headers.authorization === secret));
      assert.deepEqual(findPlugin(undefined), { file: pulled.path, from: 'repa pull xla-cuda13' });

      process.env.PIP_INDEX_URL = 'http://127.0.0.1:9/simple';
      assert.deepEqual(await pullPlugin('xla-cuda13', quiet), { ...pulled, fetched: false });
    });
  }

  test('is not there before all of it is what the index tells, and what was fetched is kept', async () => {
    const wheels = published();
    const nvcc = wheels.find(({ name }) => name.startsWith('nvidia_cuda_nvcc-13.1'))!;
    const withMetadata = wheels.map(({ name }) => name);
    const lying = await serveIndex(wheels, { json: true, withMetadata, lies: { [nvcc.name]: '0'.repeat(64) } });
    process.env.PIP_INDEX_URL = lying.address;
    await assert.rejects(pullPlugin('xla-cuda13', quiet), (error: Error & { exitCode: number }) => {
      assert.match(error.message, /nvidia_cuda_nvcc.*is not the file that was published/);
      assert.doesNotMatch(error.message, /s@fe|s%40fe/);
      return error.exitCode === 69;
    });
    assert.deepEqual(readdirSync(home()), ['.wheels']);
    const honest = await serveIndex(wheels, { json: true, withMetadata });
    process.env.PIP_INDEX_URL = honest.address;
    await pullPlugin('xla-cuda13', quiet);
    const fetched = honest.asked.filter(({ path }) => path.endsWith('.whl'));
    assert.deepEqual(
      fetched.map(({ path }) => path),
      [`/files/${nvcc.name}`],
    );
  });

  for (const [what, name, mode] of [
    ['climbs', '../../escaped', 0o100644],
    ['starts at the root', '/tmp/escaped', 0o100644],
    ['climbs in the middle', 'jax_plugins/../../escaped', 0o100644],
    ['is another system’s path', 'jax_plugins\\..\\escaped', 0o100644],
    ['is a link', 'jax_plugins/link', 0o120777],
  ] as const) {
    test(`is refused when a name in it ${what}`, async () => {
      const { address } = await serveIndex(published({ [name]: { data: '/etc', mode } }), { json: true });
      process.env.PIP_INDEX_URL = address;
      await assert.rejects(pullPlugin('xla-cuda13', quiet), (error: Error & { exitCode: number }) => {
        assert.match(error.message, /leads out of the folder|is a link/);
        return error.exitCode === 65;
      });
      assert.deepEqual(readdirSync(home()), ['.wheels']);
      assert.deepEqual(readdirSync(process.env.REPA_HOME!), ['plugins']);
    });
  }

  test('says which project or version is missing, and of an index that does not answer', async () => {
    const wheels = published();
    const fails = async (served: readonly MadeWheel[], message: RegExp) => {
      process.env.PIP_INDEX_URL = (await serveIndex(served, { json: true })).address;
      await assert.rejects(pullPlugin('xla-cuda13', quiet), message);
    };
    await fails([], /no wheel of jax-cuda13-plugin for this machine/);
    await fails(
      wheels.filter(({ name }) => !name.startsWith('jax_cuda13_pjrt-0.12')),
      /no version of jax-cuda13-pjrt is ==0.12.0 \(jax-cuda13-plugin\): there are 0.11.0/,
    );
    process.env.PIP_INDEX_URL = 'http://127.0.0.1:9/simple';
    await assert.rejects(pullPlugin('xla-cuda13', quiet), /cannot be reached/);
  });
});
