import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { UnavailableError } from '../../../src/lib/errors.js';
import { type Download, download } from '../../../src/lib/hub/download.js';
import { proxyFor, request } from '../../../src/lib/hub/http.js';
import { fillUniform, PURPOSE } from '../../../src/lib/numbers/random.js';
import { type FileServerOptions, serveFile, serveProxy } from '../../file-server.js';
import { temporaryFolder } from '../../support.js';

const values = new Float32Array(50_000);
fillUniform(values, 7, PURPOSE.noise, 0);
const BODY = new Uint8Array(values.buffer);
const SHA256 = createHash('sha256').update(BODY).digest('hex');

/** Downloads from a server of this behaviour. */
async function attempt(behaviour: FileServerOptions, more: Partial<Download> = {}) {
  const folder = temporaryFolder();
  const file = path.join(folder, 'deep/weights.bin');
  const server = await serveFile(BODY, behaviour);
  const progress: number[] = [];
  const run = (changes: Partial<Download> = {}) =>
    download({ url: `${server.url}/weights`, file, firstWaitMs: 5, ...more, ...changes }, (done) =>
      progress.push(done),
    );
  const left = () => readdirSync(path.dirname(file));
  return { server, file, run, progress, left };
}

const ranges = (requests: { headers: Record<string, unknown> }[]) => requests.map(({ headers }) => headers.range);

test('a file arrives whole, under its name alone, and its hash is told', async () => {
  const { run, file, progress, left } = await attempt({}, { sha256: SHA256, size: BODY.length });
  assert.equal(await run(), SHA256);
  assert.deepEqual(new Uint8Array(readFileSync(file)), BODY);
  assert.deepEqual(left(), ['weights.bin']);
  assert.equal(progress[0], 0);
  assert.equal(progress.at(-1), BODY.length);
});

test('a connection that drops is taken up where it broke, as often as it takes', async () => {
  const { run, file, server } = await attempt({ drops: [70_000, 1, 0, 30_000], etag: '"one"' });
  assert.equal(await run(), SHA256);
  assert.deepEqual(new Uint8Array(readFileSync(file)), BODY);
  assert.deepEqual(ranges(server.requests), [
    undefined,
    'bytes=70000-',
    'bytes=70001-',
    'bytes=70001-',
    'bytes=100001-',
  ]);
  assert.ok(server.requests.slice(1).every(({ headers }) => headers['if-range'] === '"one"'));
});

test('a second run continues what the first one left', async () => {
  const { run, server, left } = await attempt({ drops: [90_000, 0, 0, 0, 0, 0], etag: '"one"' });
  await assert.rejects(run(), (error: UnavailableError) => {
    assert.match(`${error.message} ${error.hint}`, /cannot be downloaded.*90000 bytes/);
    return error instanceof UnavailableError;
  });
  assert.deepEqual(left(), ['weights.bin.incomplete', 'weights.bin.incomplete.etag']);
  const before = server.requests.length;
  assert.equal(await run(), SHA256);
  assert.deepEqual(ranges(server.requests.slice(before)), ['bytes=90000-']);
  assert.deepEqual(left(), ['weights.bin']);
});

test('a file that changed meanwhile is not mixed with the old one', async () => {
  const { run, file } = await attempt({ etag: '"new"' });
  await assert.rejects(run({ size: 1 })); // makes the folder
  writeFileSync(`${file}.incomplete`, Buffer.alloc(1000, 7));
  writeFileSync(`${file}.incomplete.etag`, '"old"');
  assert.equal(await run(), SHA256);
});

test('without anything to recognise the file by, it is fetched from the start; its known hash is enough', async () => {
  const unknown = await attempt({ drops: [5000] });
  assert.equal(await unknown.run(), SHA256);
  assert.deepEqual(ranges(unknown.server.requests), [undefined, undefined]);
  const known = await attempt({ drops: [5000] }, { sha256: SHA256 });
  assert.equal(await known.run(), SHA256);
  assert.deepEqual(ranges(known.server.requests), [undefined, 'bytes=5000-']);
});

test('a server without ranges is asked for the whole again', async () => {
  const { run, server } = await attempt({ drops: [5000], noRanges: true, etag: '"one"' });
  assert.equal(await run(), SHA256);
  assert.equal(server.requests.length, 2);
});

test('a server that says it is busy is asked again', async () => {
  const { run, server } = await attempt({ statuses: [503, 429, 500] });
  assert.equal(await run(), SHA256);
  assert.equal(server.requests.length, 4);
});

test('a server that always fails ends it, after a bounded number of requests', async () => {
  const { run, server } = await attempt({ statuses: Array(100).fill(503) });
  await assert.rejects(run(), UnavailableError);
  assert.equal(server.requests.length, 5);
});

test('what is refused is not asked for again', async () => {
  for (const [status, hint] of [
    [401, /HF_TOKEN/],
    [403, /HF_TOKEN/],
    [404, /--weights/],
    [418, /418/],
  ] as const) {
    const { run, server } = await attempt({ statuses: [status] });
    await assert.rejects(run(), (error: UnavailableError) => hint.test(`${error.message} ${error.hint}`));
    assert.equal(server.requests.length, 1);
  }
});

test('corrupt bytes are fetched once more; still corrupt, nothing is kept', async () => {
  const once = await attempt({ corrupt: 1 }, { sha256: SHA256 });
  assert.equal(await once.run(), SHA256);
  const always = await attempt({ corrupt: 100 }, { sha256: SHA256.slice(0, 8) });
  await assert.rejects(always.run(), (error: Error) => /is not the file that was published/.test(error.message));
  assert.deepEqual(always.left(), []);
  assert.equal(always.server.requests.length, 2);
});

test('sizes that are not the announced one are found out, whatever the server claims', async () => {
  const other = await attempt({}, { size: BODY.length - 1 });
  await assert.rejects(other.run(), /has 200000 bytes, but 199999 were announced/);
  assert.equal(existsSync(other.file), false);
  const longer = await attempt({ claims: BODY.length + 10, etag: '"one"' }); // promises what never comes
  await assert.rejects(longer.run(), UnavailableError);
  assert.equal(existsSync(longer.file), false);
  const endless = await attempt(
    {
      handle: (_, response) => {
        response.writeHead(200, { 'transfer-encoding': 'chunked' });
        const pour = () => {
          while (!response.destroyed && response.write(BODY)) {}
        };
        response.on('drain', pour);
        pour();
        return true;
      },
    },
    { size: BODY.length },
  );
  await assert.rejects(endless.run(), /sends more than the 200000 bytes/);
  assert.deepEqual(endless.left(), []);
});

test('a server that continues at another place is not believed', async () => {
  let asked = 0;
  const { run } = await attempt({
    drops: [1000],
    etag: '"one"',
    handle: (request, response) => {
      if (!request.headers.range || asked++ > 0) return false;
      response.writeHead(206, { 'content-range': `bytes 2000-${BODY.length - 1}/${BODY.length}` });
      response.end(BODY.subarray(2000));
      return true;
    },
  });
  assert.equal(await run(), SHA256);
});

test('a page of words is not taken for weights', async () => {
  const { run, left } = await attempt({}, { check: () => assert.fail('no weights') });
  await assert.rejects(run(), /gives something else: no weights/);
  assert.deepEqual(left(), []);
});

test('nobody listens: the reason is told', async () => {
  const file = path.join(temporaryFolder(), 'x');
  await assert.rejects(
    download({ url: 'http://127.0.0.1:9/x', file, firstWaitMs: 1 }),
    /cannot be downloaded: 127\.0\.0\.1:9/,
  );
});

test('redirects are followed, credentials stay with their host, and an endless chain ends', async () => {
  const store = await serveFile(BODY);
  const hub = await serveFile(BODY, {
    handle: (request, response) => {
      const next = { '/file': '/moved', '/moved': `${store.url}/blob`, '/round': '/round' }[request.url!];
      if (next) response.writeHead(302, { location: next }).end();
      return next !== undefined;
    },
  });
  const file = path.join(temporaryFolder(), 'x');
  const headers = { authorization: 'Bearer secret' };
  assert.equal(await download({ url: `${hub.url}/file`, headers, file }), SHA256);
  assert.deepEqual(
    hub.requests.map(({ headers }) => headers.authorization),
    ['Bearer secret', 'Bearer secret'],
  );
  assert.deepEqual(
    store.requests.map(({ headers, path }) => [path, headers.authorization]),
    [['/blob', undefined]],
  );
  await assert.rejects(request(`${hub.url}/round`), /redirects without an end/);
});

test('credentials do not follow to another scheme or port of the same host', async () => {
  const plain = await serveFile(BODY);
  const { port } = new URL(plain.url);
  const hub = await serveFile(BODY, {
    handle: (_, response) => {
      response.writeHead(302, { location: `http://127.0.0.1:${port}/blob` }).end();
      return true;
    },
  });
  await request(`${hub.url}/file`, { headers: { authorization: 'Bearer secret' } });
  assert.deepEqual(
    plain.requests.map(({ headers }) => headers.authorization),
    [undefined],
  );
});

test('redirects to what is no address end with words', async () => {
  for (const location of ['http://[', 'file:///etc/passwd', 'ftp://a.org/x']) {
    const hub = await serveFile(BODY, {
      handle: (_, response) => {
        response.writeHead(302, { location }).end();
        return true;
      },
    });
    await assert.rejects(
      request(`${hub.url}/file`),
      (error: Error) => error instanceof UnavailableError && /which is no address/.test(error.message),
      location,
    );
  }
});

test('of two that fetch one file at once, the second waits and both have it', async () => {
  const { run, file, server, left } = await attempt({ etag: '"one"' });
  assert.deepEqual(await Promise.all([run(), run()]), [SHA256, SHA256]);
  assert.deepEqual(new Uint8Array(readFileSync(file)), BODY);
  assert.equal(server.requests.length, 1);
  assert.deepEqual(left(), ['weights.bin']);
});

test('a link in the place of an unfinished file is not written through', async () => {
  const { run, file, left } = await attempt({ etag: '"one"' });
  const victim = path.join(temporaryFolder(), 'victim');
  writeFileSync(victim, 'precious');
  mkdirSync(path.dirname(file), { recursive: true });
  for (const name of ['.incomplete', '.incomplete.etag']) symlinkSync(victim, file + name);
  assert.equal(await run(), SHA256);
  assert.equal(readFileSync(victim, 'utf8'), 'precious');
  assert.deepEqual(left(), ['weights.bin']);
  assert.ok(lstatSync(file).isFile());
});

test('proxies are chosen as other tools choose them', () => {
  const choose = (url: string, env: Record<string, string>) => proxyFor(new URL(url), env)?.href;
  const both = { HTTPS_PROXY: 'http://one:3128', http_proxy: 'two:8080' };
  assert.equal(choose('https://a.org/x', both), 'http://one:3128/');
  assert.equal(choose('http://a.org/x', both), 'http://two:8080/');
  assert.equal(choose('https://a.org/x', { ALL_PROXY: 'http://all' }), 'http://all/');
  assert.equal(choose('https://a.org/x', {}), undefined);
  for (const exempt of ['*', 'a.org', '.a.org', 'b.org, a.org', 'a.org:443', 'org']) {
    assert.equal(choose('https://sub.a.org/x', { ...both, NO_PROXY: exempt }), undefined, exempt);
  }
  for (const other of ['b.org', 'a.org:80', 'ub.a.org', '']) {
    assert.equal(choose('https://sub.a.org/x', { ...both, no_proxy: other }), 'http://one:3128/', other);
  }
});

test('plain requests go through a proxy whole, with its credentials', async (t) => {
  const { url, seen, authorizations } = await serveProxy(0);
  const { username, password, ...saved } = { username: 'me', password: 'p%40ss', http_proxy: process.env.http_proxy };
  t.after(() => {
    if (saved.http_proxy === undefined) delete process.env.http_proxy;
    else process.env.http_proxy = saved.http_proxy;
  });
  process.env.http_proxy = url.replace('//', `//${username}:${password}@`);
  const response = await request('http://weights.invalid/file?x=1');
  let body = '';
  for await (const chunk of response) body += chunk;
  assert.equal(body, 'weights.invalid/file');
  assert.deepEqual(seen, ['http://weights.invalid/file?x=1']);
  assert.deepEqual(authorizations, [`Basic ${Buffer.from('me:p@ss').toString('base64')}`]);
});
