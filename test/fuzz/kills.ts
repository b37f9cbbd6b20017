/**
 * Kills of verbs that write, at random times: `node dist/test/fuzz/kills.js [count [seed]]`. After each, the output is not
 * there or whole; and once a run is let end, nothing else is left beside it.
 */
import { spawn } from 'node:child_process';
import { createReadStream, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readNpyRows, readNpzRows } from '../../src/lib/exchange/arrays.js';
import { readTar } from '../../src/lib/formats/tar.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { TensorWriter } from '../../src/lib/stream/writer.js';
import { PROGRAM } from '../commands/binary.js';
import { below, pick, seeded } from './mutate.js';

const ROWS = 300;

async function rowsOf(rows: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of rows) count++;
  return count;
}

async function streamRows(input: string): Promise<number> {
  let count = 0;
  for await (const batch of await openTensorStream(input)) count += batch.rows;
  return count;
}

/** What a verb writes, and how many rows are in it once it is there. */
const VERBS: readonly { args: string[]; out: string; rows(out: string): Promise<number> }[] = [
  { args: ['cat', 'images', '-o', 'copy'], out: 'copy', rows: streamRows },
  {
    args: ['cat', 'images', '-o', 'parts/', '--shard', '0/1'],
    out: 'parts/part-00000-of-00001.arrows',
    rows: streamRows,
  },
  { args: ['export', 'images', '-o', 'x.npz'], out: 'x.npz', rows: async (out) => rowsOf(readNpzRows(out).rows) },
  { args: ['export', 'images', '-o', 'x.npy'], out: 'x.npy', rows: async (out) => rowsOf(readNpyRows(out).rows) },
  {
    args: ['export', 'images', '-o', 'x.tar'],
    out: 'x.tar',
    rows: async (out) => {
      let pictures = 0;
      for await (const { name } of readTar(createReadStream(out), out)) if (name.endsWith('.png')) pictures++;
      return pictures;
    },
  },
  {
    args: ['export', 'images', '-o', 'folder/'],
    out: 'folder',
    rows: async (out) => {
      const { labels } = JSON.parse(readFileSync(path.join(out, 'dataset.json'), 'utf8'));
      const pictures = readdirSync(out, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.png'));
      return labels.length === pictures.length ? pictures.length : -1;
    },
  },
];

async function makeImages(file: string): Promise<void> {
  const columns = [{ name: 'image', dtype: 'u8' as const, shape: [64, 64, 3] }];
  const writer = new TensorWriter(atomicFileSink(file), { columns, metadata: {} });
  const image = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251);
  for (let i = 0; i < ROWS; i++) await writer.append(`${i}.png`, i % 10, { image });
  await writer.end();
}

/** Runs a verb, and kills it after so long if it has not ended. @returns whether it was killed */
async function run(args: readonly string[], cwd: string, killMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { cwd, stdio: 'ignore' });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => child.on('close', (_, signal) => resolve(signal)));
  const stop = new AbortController();
  void sleep(killMs, undefined, { signal: stop.signal }).then(
    () => child.kill('SIGKILL'),
    () => {},
  );
  const signal = await ended;
  stop.abort();
  return signal === 'SIGKILL';
}

const [count = '100', seed = '1'] = process.argv.slice(2);
const cwd = mkdtempSync(path.join(tmpdir(), 'repa-kills-'));
await makeImages(path.join(cwd, 'images'));
const random = seeded(Number(seed));
const longest = new Map<string, number>();
for (const { args } of VERBS) {
  const start = performance.now();
  await run(args, cwd, 600_000);
  longest.set(args.join(' '), performance.now() - start);
}
const seen = { killed: 0, ended: 0, absent: 0, whole: 0, broken: 0, left: 0 };
for (let i = 0; i < Number(count); i++) {
  const { args, out, rows } = pick(random, VERBS);
  const target = path.join(cwd, out);
  for (const name of readdirSync(cwd)) {
    if (name !== 'images' && !name.startsWith('.')) rmSync(path.join(cwd, name), { recursive: true });
  }
  const killed = await run(args, cwd, below(random, Math.ceil(longest.get(args.join(' '))!)));
  seen[killed ? 'killed' : 'ended']++;
  if (!existsSync(target)) seen.absent++;
  else if ((await rows(target).catch(() => -1)) === ROWS) seen.whole++;
  else seen.broken++;
}
await run(['cat', 'images', '-o', 'copy'], cwd, 600_000);
seen.left = readdirSync(cwd).filter((name) => name.startsWith('.')).length;
rmSync(cwd, { recursive: true });
process.stdout.write(
  `${seen.killed} killed, ${seen.ended} ended before; ${seen.absent} outputs absent, ${seen.whole} whole, ` +
    `${seen.broken} broken; ${seen.left} temporary files left after the next run\n`,
);
if (seen.broken + seen.left > 0) process.exitCode = 1;
