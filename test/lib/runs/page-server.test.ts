import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { UnavailableError } from '../../../src/lib/errors.js';
import { servePage } from '../../../src/lib/runs/page-server.js';
import { RunFolder } from '../../../src/lib/runs/run-folder.js';
import type { RunChange } from '../../../src/lib/runs/run-view.js';
import { temporaryFolder } from '../../support.js';

async function served(t: TestContext) {
  const folder = path.join(temporaryFolder(), 'ckpt');
  mkdirSync(path.join(folder, 'samples'), { recursive: true });
  writeFileSync(path.join(folder, 'log.ndjson'), '{"step":1,"velocity_loss":2}\n');
  writeFileSync(path.join(folder, 'samples/step-00000001.png'), 'a picture');
  writeFileSync(path.join(folder, 'secret.txt'), 'a secret');
  const { address, server } = await servePage([new RunFolder(folder)], 0);
  t.after(() => server.close());
  return { folder, address };
}

/** fetch cleans paths and hosts; an attacker does not. */
const ask = (address: string, target: string, host?: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const { port } = new URL(address);
    const headers = host === undefined ? {} : { host };
    http
      .get({ host: '127.0.0.1', port, path: target, headers }, (response) => {
        response.resume();
        resolve(response.statusCode!);
      })
      .on('error', reject);
  });

test('a page asks for the lines that it has not seen', async (t) => {
  const { folder, address } = await served(t);
  const changes = async (seen: string) =>
    ((await (await fetch(`${address}changes?0=${seen}`)).json()) as (RunChange & { generation: number })[])[0];
  const first = await changes('-1.0');
  assert.deepEqual([first.name, first.config, first.replaced], ['ckpt', null, true]);
  assert.deepEqual(first.lines, [{ step: 1, velocity_loss: 2 }]);
  assert.deepEqual(first.pictures, [{ step: 1, uri: 'picture/0/step-00000001.png' }]);
  appendFileSync(path.join(folder, 'log.ndjson'), '{"step":2,"velocity_loss":1}\n');
  const second = await changes(`${first.generation}.1`);
  assert.deepEqual([second.replaced, second.lines], [false, [{ step: 2, velocity_loss: 1 }]]);
  assert.equal(await (await fetch(address + first.pictures[0].uri)).text(), 'a picture');
  appendFileSync(path.join(folder, 'log.ndjson'), 'broken\n');
  const broken = await fetch(`${address}changes`);
  assert.deepEqual([broken.status, /line 3 is no JSON object/.test(await broken.text())], [500, true]);
});

test('only this machine is served, and only pages, lines and sheets', async (t) => {
  const { address } = await served(t);
  assert.equal(await ask(address, '/'), 200);
  assert.equal(await ask(address, '/', 'attacker.example'), 403);
  for (const target of [
    '/picture/0/..%2Fsecret.txt',
    '/picture/0/../secret.txt',
    '/picture/7/step-00000001.png',
    '/log.ndjson',
  ]) {
    assert.equal(await ask(address, target), 404, target);
  }
  assert.equal(await ask(address, '//'), 400);
  const page = await fetch(address);
  assert.match(page.headers.get('content-security-policy')!, /default-src 'none'; script-src 'sha256-/);
  assert.equal((await fetch(address, { method: 'POST' })).status, 405);
});

test('a port that another program has is told', async (t) => {
  const { address } = await served(t);
  await assert.rejects(servePage([], Number(new URL(address).port)), UnavailableError);
});
