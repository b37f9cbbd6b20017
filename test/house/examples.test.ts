/**
 * Documentation that cannot lie: every example of the README, of help and of the man pages is parsed, the cheap ones
 * are run.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { verbs } from '../../src/commands/index.js';
import { commandOf } from '../../src/lib/cli/command.js';
import { shell, temporaryFolder } from '../commands/binary.js';
import { makeImages, makeTensors } from '../commands/support.js';

const root = new URL('../../../', import.meta.url);

/** The words of each simple command of a line of shell; comments and redirections are left out. */
function commandsOf(line: string): string[][] {
  const commands: string[][] = [[]];
  const token = /\s*(?:(#.*)|(\d?[<>]+&?)\s*|(&&|\|\||[|;&()\n])|((?:'[^']*'|"[^"]*"|\\.|[^\s'"|;&()<>\\])+))/gy;
  let skipped = false; // the word behind a redirection is no argument
  for (const [, comment, redirection, operator, word] of line.matchAll(token)) {
    if (comment) break;
    if (operator) commands.push([]);
    else if (word && !skipped) commands.at(-1)!.push(word.replace(/'([^']*)'|"([^"]*)"|\\(.)/g, '$1$2$3'));
    skipped = redirection !== undefined;
  }
  return commands;
}

/** What follows `repa` in each command that runs it, also behind `srun` or in a loop. */
const argumentsOf = (line: string): string[][] =>
  commandsOf(line).flatMap((words) => {
    const at = words.indexOf('repa');
    return at < 0 ? [] : [words.slice(at + 1).map((word) => word.replace(/\$\w+/g, '1'))];
  });

/** Parses as the program does, up to the checks of all options, and stops there. @throws what the program would say */
async function parse([name, ...args]: string[]): Promise<void> {
  if (name === 'help') return assert.ok(args.every((verb) => verbs.some((entry) => entry.name === verb)));
  const entry = verbs.find((candidate) => candidate.name === name);
  assert.ok(entry, `${name} is no verb`);
  const command = commandOf(entry, { ...(await entry.load()), run: async () => {} });
  command.exitOverride().configureOutput({ writeErr: () => {}, writeOut: () => {} });
  await command.parseAsync(args, { from: 'user' });
}

/** Lines of shell in the fenced blocks of the house's documents. */
function documented(): [place: string, line: string][] {
  const folders = ['', 'docs/', 'examples/', 'bench/'].filter((folder) => existsSync(new URL(folder, root)));
  const files = folders.flatMap((folder) =>
    readdirSync(new URL(folder || '.', root))
      .filter((name) => name.endsWith('.md'))
      .map((name) => folder + name),
  );
  return files.flatMap((file) => {
    const text = readFileSync(new URL(file, root), 'utf8');
    const blocks = [...text.matchAll(/^```(?:sh|bash|console|shell)\n(.*?)^```/gms)].map(([, block]) => block);
    const lines = blocks.flatMap((block) => block.replace(/\\\n/g, ' ').split('\n'));
    return lines.map((line): [string, string] => [file, line.replace(/^\$ /, '')]);
  });
}

async function shown(): Promise<[place: string, line: string][]> {
  const loaded = await Promise.all(verbs.map(async ({ name, load }) => ({ name, verb: await load() })));
  return loaded.flatMap(({ name, verb }) => verb.examples.map(({ command }): [string, string] => [name, command]));
}

test('every example of the documents, of help and of the man pages parses', async () => {
  let parsed = 0;
  for (const [place, line] of [...documented(), ...(await shown())]) {
    for (const args of argumentsOf(line)) {
      await assert.doesNotReject(parse(args), `${place}: ${line}`);
      parsed++;
    }
  }
  assert.ok(parsed > 100, `${parsed} commands`);
  await assert.rejects(parse(['train', '--lamda', '1']), /--lamda/);
  await assert.rejects(parse(['sample', '--raw', '--ema', '0.9']), /cannot be used with/);
  assert.deepEqual(argumentsOf("srun -N 4 repa a 'b c' > d | repa e --f $i/4 & x repa-y # repa z"), [
    ['a', 'b c'],
    ['e', '--f', '1/4'],
  ]);
});

/** Examples that need no network, no GPU and no minutes, as help shows them. */
const CHEAP: Readonly<Record<string, readonly RegExp[]>> = {
  'encode-vae': [/pixels/],
  plot: [/--smooth/],
  show: [/imgs/],
  pull: [/--list/],
  export: [/-o data/],
  info: [/info latents/],
  cat: [/part0/],
  head: [/few/],
  select: [/--label/, /--column/, /chosen/],
  shuf: [/shuf/],
  split: [/split/],
  join: [/feats/, /b8/],
  completion: [/bash/],
};

test('the cheap examples run as they are shown', async (t) => {
  const cwd = temporaryFolder(t);
  const keys = await makeImages(path.join(cwd, 'imgs'), 70);
  const latent = { name: 'moments', dtype: 'f32', shape: [8, 4, 4] } as const;
  const feature = { name: 'feature', dtype: 'f32', shape: [4, 6] } as const;
  const scale = { 'repa.latent.scale': '[0.18215]', 'repa.latent.shift': '[0]', 'repa.model': 'sd-vae-ft-ema' };
  const file = (name: string): string => path.join(cwd, name);
  for (const i of [0, 1, 2, 3]) await makeTensors(file(`part${i}`), [`${i}`], feature);
  await makeTensors(file('feats'), keys, feature);
  await makeTensors(file('hidden'), keys, { ...feature, name: 'hidden.b4.t0.5' });
  await makeTensors(file('b8'), keys, { ...feature, name: 'hidden.b8' });
  writeFileSync(file('chosen.txt'), `${keys[3]}\n`);
  mkdirSync(file('data'));
  for (const run of ['ckpt', 'ckpt-plain']) {
    mkdirSync(path.join(file(run), 'samples'), { recursive: true });
    const log = [1, 2].map((step) => JSON.stringify({ step, velocity_loss: 1 / step, learning_rate: 1 }));
    writeFileSync(path.join(file(run), 'log.ndjson'), `${log.join('\n')}\n`);
  }
  const lines = (await shown()).filter(([verb, line]) => CHEAP[verb]?.some((pattern) => pattern.test(line)));
  assert.equal(lines.length, Object.values(CHEAP).flat().length, 'each pattern names one example');
  for (const [verb, line] of lines) {
    await makeTensors(file('latents'), keys, latent, scale); // which some examples write
    const { code, stderr } = await shell(line.replace(/(?<=shuf latents) -n 1000/, ' -n 10'), { cwd });
    assert.equal(code, 0, `${verb}: ${line}\n${stderr}`);
  }
});

test('the tests that stages of continuous integration name are there', async () => {
  const stages = new URL('.ci/', root);
  const named = readdirSync(stages).flatMap(
    (stage) => readFileSync(new URL(stage, stages), 'utf8').match(/dist\/test\/[\w./*{},-]*[\w}]/g) ?? [],
  );
  assert.ok(named.length > 10);
  const { code, stderr } = await shell(`ls -d ${[...new Set(named)].join(' ')}`, { cwd: fileURLToPath(root) });
  assert.equal(code, 0, stderr);
});
