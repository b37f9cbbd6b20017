import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { PLUGINS } from '../../src/lib/hub/plugins.js';
import { REGISTRY } from '../../src/lib/hub/registry.js';
import { CERTIFICATE, type FileServer, type FileServerOptions, serveFile, serveProxy } from '../file-server.js';
import { fixturePath } from '../support.js';
import { repa, temporaryFolder } from './binary.js';

const BODY = readFileSync(fixturePath('official/training.pt'));
const SHA256 = createHash('sha256').update(BODY).digest('hex');
const COMMIT = '0123456789abcdef0123456789abcdef01234567';
const FILE = 'diffusion_pytorch_model.safetensors';

interface Hub {
  hub: FileServer;
  store: FileServer;
  cwd: string;
  env: Record<string, string>;
  /** `models--.../` in the cache. */
  cache: string;
}

/** A hub that knows every file, and keeps its bytes on another server, as the real one does. */
async function startHub(
  t: TestContext,
  changes: Record<string, string> = {},
  store: FileServerOptions = {},
): Promise<Hub> {
  const bytes = await serveFile(BODY, store);
  const hub = await serveFile(BODY, {
    handle: (_request: IncomingMessage, response: ServerResponse) => {
      const headers = {
        'x-repo-commit': COMMIT,
        'x-linked-etag': `"${SHA256}"`,
        'x-linked-size': String(BODY.length),
        location: `${bytes.url}/blob`,
        ...changes,
      };
      response.writeHead(302, headers).end();
      return true;
    },
  });
  const cwd = temporaryFolder(t);
  // Nothing of this machine's own cache or accounts.
  const [home, cacheFolder] = [path.join(cwd, 'hf'), path.join(cwd, 'hf/hub')];
  const env = {
    HF_ENDPOINT: hub.url,
    HF_HOME: home,
    HF_HUB_CACHE: cacheFolder,
    HF_TOKEN: 'secret',
    REPA_HOME: path.join(cwd, 'home'),
  };
  return { hub, store: bytes, cwd, env, cache: path.join(cwd, 'hf/hub/models--stabilityai--sd-vae-ft-ema') };
}

test("a hub's file goes into the hub's own cache, and is there for all verbs", async (t) => {
  const { hub, store, cwd, env, cache } = await startHub(t, {}, { drops: [50_000], etag: '"cdn"' });
  const { code, stdout, stderr } = await repa(['pull', 'sd-vae-ft-ema'], { cwd, env });
  assert.equal(code, 0, stderr);
  const pointer = path.join(cache, 'snapshots', COMMIT, FILE);
  assert.equal(stdout.toString(), `sd-vae-ft-ema     ${pointer}\n`);
  assert.deepEqual(readFileSync(pointer), BODY);
  assert.equal(readlinkSync(pointer), path.join('../../blobs', SHA256));
  assert.equal(readFileSync(path.join(cache, 'refs/main'), 'utf8'), COMMIT);
  assert.deepEqual(readdirSync(path.join(cache, 'blobs')), [SHA256]);
  const asked = `/stabilityai/sd-vae-ft-ema/resolve/main/${FILE}`;
  assert.deepEqual(
    hub.requests.map(({ method, path, headers }) => [method, path, headers.authorization]),
    [
      ['HEAD', asked, 'Bearer secret'],
      ['GET', asked, 'Bearer secret'],
      ['GET', asked, 'Bearer secret'],
    ],
  );
  assert.deepEqual(
    store.requests.map(({ headers }) => [headers.range, headers.authorization]),
    [
      [undefined, undefined],
      ['bytes=50000-', undefined],
    ],
  );
  // It is no autoencoder: that much of it is read.
  const used = await repa(['encode-vae', fixturePath('images'), '--vae', 'sd-vae-ft-ema', '-o', 'z'], { cwd, env });
  assert.equal(used.code, 65);
  assert.match(used.stderr, /sd-vae-ft-ema/);
});

test('HF_HOME alone says where cache and token are; NO_PROXY where no proxy is wanted', async (t) => {
  const { hub, store, cwd, env, cache } = await startHub(t);
  mkdirSync(env.HF_HOME);
  writeFileSync(path.join(env.HF_HOME, 'token'), 'from a file\n');
  const unset = {
    HF_HUB_CACHE: '',
    HUGGINGFACE_HUB_CACHE: '',
    HF_TOKEN: '',
    HF_TOKEN_PATH: '',
    no_proxy: '',
    http_proxy: '',
  };
  const proxied = { ...env, ...unset, HTTP_PROXY: 'http://127.0.0.1:9', NO_PROXY: 'localhost, 127.0.0.1' };
  const { code, stderr } = await repa(['pull', 'sd-vae-ft-ema'], { cwd, env: proxied });
  assert.equal(code, 0, stderr);
  assert.deepEqual(readFileSync(path.join(cache, 'snapshots', COMMIT, FILE)), BODY);
  assert.ok(hub.requests.every(({ headers }) => headers.authorization === 'Bearer from a file'));
  assert.equal(store.requests.length, 1);
  const dead = await repa(['pull', 'taesd'], { cwd, env: { ...proxied, NO_PROXY: 'example.org' } });
  assert.equal(dead.code, 69);
  assert.match(dead.stderr, /cannot be reached/);
});

test('what is here needs no network, and no hub', async (t) => {
  const { hub, cwd, env } = await startHub(t);
  assert.equal((await repa(['pull', 'sd-vae-ft-ema'], { cwd, env })).code, 0);
  const asked = hub.requests.length;
  const offline = { ...env, HF_ENDPOINT: 'http://127.0.0.1:9', HF_HUB_OFFLINE: '1' };
  const again = await repa(['pull', 'sd-vae-ft-ema', '--json'], { cwd, env: offline });
  assert.equal(again.code, 0, again.stderr);
  const { name, fetched } = JSON.parse(again.stdout.toString());
  assert.deepEqual([name, fetched], ['sd-vae-ft-ema', false]);
  assert.equal(hub.requests.length, asked);
  const other = await repa(['pull', 'sd-vae-ft-mse'], { cwd, env: offline });
  assert.equal(other.code, 69);
  assert.match(other.stderr, /HF_HUB_OFFLINE/);
  const list = (await repa(['pull', '--list'], { cwd, env: offline })).stdout.toString().trimEnd().split('\n');
  assert.equal(list.length, REGISTRY.size + PLUGINS.size);
  assert.match(list.at(-1)!, /^xla-tpu +-$/);
  assert.match(list.find((line) => line.startsWith('sd-vae-ft-ema'))!, /snapshots/);
  assert.match(list.find((line) => line.startsWith('sd-vae-ft-mse'))!, / -$/);
});

test('a hub that lies is found out, and nothing is left where it could be taken for weights', async (t) => {
  const lies: [string, Record<string, string>, FileServerOptions, RegExp][] = [
    ['size', { 'x-linked-size': '12' }, {}, /has \d+ bytes, but 12 were announced/],
    ['hash', { 'x-linked-etag': `"${'0'.repeat(64)}"` }, {}, /is not the file that was published/],
    ['bytes', {}, { corrupt: 100 }, /is not the file that was published/],
    ['name', { 'x-linked-etag': '"../../../../escaped"' }, {}, /not that of a Hugging Face hub/],
    ['commit', { 'x-repo-commit': '../../escaped' }, {}, /not that of a Hugging Face hub/],
  ];
  for (const [what, changes, store, message] of lies) {
    const { cwd, env } = await startHub(t, changes, store);
    const { code, stdout, stderr } = await repa(['pull', 'sd-vae-ft-ema'], { cwd, env });
    assert.equal(code, 69, `${what}: ${stderr}`);
    assert.match(stderr, message, what);
    assert.equal(stdout.length, 0);
    const left = readdirSync(cwd, { recursive: true, encoding: 'utf8' }).filter((name) =>
      lstatSync(path.join(cwd, name)).isFile(),
    );
    assert.deepEqual(
      left.filter((name) => !name.includes('.incomplete')),
      [],
      what,
    );
  }
});

test('a hub that is not there, or wants an account', async (t) => {
  const { cwd, env } = await startHub(t);
  const nobody = await repa(['pull', 'taesd'], { cwd, env: { ...env, HF_ENDPOINT: 'http://127.0.0.1:9' } });
  assert.equal(nobody.code, 69);
  assert.match(nobody.stderr, /cannot be reached[\s\S]*HF_ENDPOINT/);
  const closed = await serveFile(BODY, { statuses: [401] });
  const refused = await repa(['pull', 'taesd'], { cwd, env: { ...env, HF_ENDPOINT: closed.url } });
  assert.equal(refused.code, 69);
  assert.match(refused.stderr, /401[\s\S]*HF_TOKEN/);
});

test('other weights go into the folder of repa, through a proxy if there is one', async (t) => {
  const { cwd, env } = await startHub(t);
  const publisher = await serveFile(BODY, { tls: true, drops: [40_000], etag: '"one"' });
  const proxy = await serveProxy(publisher.port);
  const behind = { ...env, HTTPS_PROXY: proxy.url, NO_PROXY: '', no_proxy: '', NODE_EXTRA_CA_CERTS: CERTIFICATE };
  const { code, stdout, stderr } = await repa(['pull', 'dinov2-vit-s'], { cwd, env: behind });
  assert.equal(code, 0, stderr);
  const file = path.join(cwd, 'home/weights/dinov2-vit-s.pth');
  assert.equal(stdout.toString(), `dinov2-vit-s      ${file}\n`);
  assert.deepEqual(readFileSync(file), BODY);
  assert.deepEqual(readdirSync(path.dirname(file)), ['dinov2-vit-s.pth']);
  assert.deepEqual(proxy.seen, ['dl.fbaipublicfiles.com:443', 'dl.fbaipublicfiles.com:443']);
  assert.deepEqual(
    publisher.requests.map(({ path, headers }) => [path, headers.range]),
    [
      ['/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth', undefined],
      ['/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth', 'bytes=40000-'],
    ],
  );

  const page = await serveFile(Buffer.from('<html>this file has moved</html>'), { tls: true });
  const { url } = await serveProxy(page.port);
  const wrong = await repa(['pull', 'mae-vit-b'], { cwd, env: { ...behind, HTTPS_PROXY: url } });
  assert.equal(wrong.code, 69);
  assert.match(wrong.stderr, /gives something else: .*not a weights file/);
  assert.deepEqual(readdirSync(path.dirname(file)), ['dinov2-vit-s.pth']);
});

test('diffusion models are sampled and imported by their name; what is not here says how it gets here', async (t) => {
  const { cwd, env } = await startHub(t);
  const missing = await repa(['sample', '--ckpt', 'repa-sit-xl-2', '--latents', '-o', 'z'], { cwd, env });
  assert.equal(missing.code, 69);
  assert.match(missing.stderr, /repa pull repa-sit-xl-2/);
  mkdirSync(path.join(cwd, 'home/weights'), { recursive: true });
  writeFileSync(path.join(cwd, 'home/weights/repa-sit-xl-2.pt'), BODY);
  // The registry says that it is an XL/2, and this is not.
  for (const args of [
    ['sample', '--ckpt', 'repa-sit-xl-2', '--latents'],
    ['import', 'repa-sit-xl-2'],
  ]) {
    const { code, stderr } = await repa([...args, '-o', 'out'], { cwd, env });
    assert.equal(code, 65, stderr);
    assert.match(stderr, /2 blocks of width 16 .*, but SiT-XL\/2 is 28 blocks/);
  }
  const encoder = await repa(['extract-dino', fixturePath('images'), '--encoder', 'dinov2-vit-b', '-o', 'f'], {
    cwd,
    env,
  });
  assert.equal(encoder.code, 69);
  assert.match(encoder.stderr, /repa pull dinov2-vit-b/);
});

test('unknown names are answered with the nearest one', async (t) => {
  const { cwd, env, hub } = await startHub(t);
  const { code, stderr } = await repa(['pull', 'sd-vae-ft-emma'], { cwd, env });
  assert.equal(code, 2);
  assert.match(stderr, /Did you mean 'sd-vae-ft-ema'/);
  assert.equal((await repa(['pull'], { cwd, env })).code, 2);
  assert.equal(hub.requests.length, 0);
});
