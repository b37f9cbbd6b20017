/** The page of runs in a real browser: Debian's Chromium, driven by playwright-core. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import sharp from 'sharp';
import { runPage } from '../../src/lib/runs/page.js';
import { servePage } from '../../src/lib/runs/page-server.js';
import { RunFolder } from '../../src/lib/runs/run-folder.js';
import { temporaryFolder } from '../support.js';

let browser: Browser;
before(async () => {
  // The flags keep it from looking for its maker.
  const args = '--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync';
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: args.split(' ') });
});
after(() => browser.close());

/** A page in which an error of a script, or anything asked from elsewhere, fails the test. */
async function opened(address: string, width = 1200): Promise<{ page: Page; problems: string[] }> {
  const page = await browser.newPage({ viewport: { width, height: 800 } });
  const problems: string[] = [];
  page.on('pageerror', ({ message }) => problems.push(message));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  page.on('request', (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) problems.push(request.url());
  });
  await page.goto(address);
  return { page, problems };
}

async function runFolder(name: string, loss: number): Promise<string> {
  const folder = path.join(temporaryFolder(), name);
  mkdirSync(path.join(folder, 'samples'), { recursive: true });
  const lines = Array.from({ length: 50 }, (_, i) => ({ step: i + 1, velocity_loss: loss / (i + 1), seconds: 0.5 }));
  writeFileSync(path.join(folder, 'log.ndjson'), lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const picture = sharp({ create: { width: 32, height: 32, channels: 3, background: '#c33' } });
  await picture.png().toFile(path.join(folder, 'samples/step-00000050.png'));
  return folder;
}

test('curves grow while a run trains, and the page can be used', async (t) => {
  const folders = [await runFolder('ckpt', 2), await runFolder('plain', 3)];
  const { address, server } = await servePage(
    folders.map((folder) => new RunFolder(folder)),
    0,
    [{ metric: 'cknna', column: 'hidden.b1.t0.5 ~ feats', value: 0.25 }],
  );
  t.after(() => server.close());
  const { page, problems } = await opened(address);
  await page.getByText('ckpt: step 50').waitFor();
  assert.ok(await page.getByText('cknna with feats, by block').isVisible());
  appendFileSync(path.join(folders[0], 'log.ndjson'), '{"step":51,"velocity_loss":0.01,"seconds":0.5}\n');
  await page.getByText('ckpt: step 51').waitFor();
  await page.selectOption('select', 'seconds');
  await page.getByLabel('log y').check();
  await page.locator('.u-over').first().hover();
  const values = page.locator('.u-legend .u-value');
  assert.match((await values.first().textContent())!, /^\d/, 'the value under the pointer');
  await page.locator('.picture').first().click();
  assert.ok(await page.locator('dialog img').isVisible());
  await page.locator('dialog').click();
  await page.getByLabel('plain').uncheck();
  assert.equal(await page.locator('.u-legend').first().getByText('plain').count(), 0);
  server.closeAllConnections();
  server.close();
  await page.getByText('repa watch has ended').waitFor();
  assert.deepEqual(
    problems.filter((problem) => !problem.includes('ERR_CONNECTION_REFUSED')),
    [],
  );
});

test('the frozen page works alone, on a phone, and shows hostile names as text', async () => {
  const folder = new RunFolder(await runFolder('<img src=x onerror=alert(1)>', 2));
  const { replaced: _, ...run } = folder.changes(() => 'data:image/png;base64,');
  const lines = [...run.lines, { step: 50, evaluation: 'samples', 'url(http://x.example/)': 3, '</script><b>': 4 }];
  const results = [
    { metric: 'cknna', column: 'hidden.b1.t0.5 ~ feats', value: 0.1 },
    { metric: 'cknna', column: 'hidden.b2.t0.5 ~ feats', value: 0.2 },
  ];
  const view = { title: '<b>', live: false, runs: [{ ...run, lines, pictures: [] }], results, pictures: [] };
  const file = path.join(temporaryFolder(), 'report.html');
  writeFileSync(file, runPage(view).html);
  const { page, problems } = await opened(pathToFileURL(file).href, 380);
  await page.getByText('cknna with feats, by block').waitFor();
  await page.getByText('</script><b>').click();
  const beside = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
  assert.equal(beside, 0, 'nothing lies beside a narrow screen');
  assert.deepEqual(problems, []);
});
