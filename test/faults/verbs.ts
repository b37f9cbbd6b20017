/** Verbs that write, each as a command over small inputs, which run in `run/` beside `base/`, where the inputs are. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Outcome, PROGRAM, repa } from '../commands/binary.js';
import { makeImages, makeTensors } from '../commands/support.js';
import { RUN } from '../commands/training-run.js';
import { fixtureWeights, writeWeights } from '../fixture-weights.js';
import { fixturePath } from '../support.js';

/** What `base` holds; the hub is a server instead. */
type Input = keyof typeof INPUTS | typeof HUB;

export interface WritingVerb {
  readonly name: string;
  readonly args: readonly string[];
  readonly needs: readonly Input[];
  /** Files that may be there in part when it was killed; by default none. */
  readonly partial?: RegExp;
  /** What may be left out of the result when the disk refuses it: a cache. */
  readonly dispensable?: RegExp;
}

const HUB = 'hub';
const WEIGHTS = fixturePath('official/training.pt');

const ONE_THREAD = ['--threads', '1'];
const SMALL = ['--steps', '2', ...ONE_THREAD, '-q'];
const SAMPLED = ['--ckpt', '../base/sit.safetensors', '--heads', '3', '--num', '3', '--batch-size', '2', ...SMALL];

/** What `base` holds, and how it comes to be there. */
const INPUTS = {
  imgs: { make: (base: string) => makeImages(path.join(base, 'imgs'), 6) },
  images: { needs: ['imgs'], args: ['import', 'imgs', '-o', 'images'] },
  latents: { needs: ['imgs'], args: ['encode-vae', 'imgs', '--vae', 'pixels', '--size', '16', '-o', 'latents'] },
  feats: {
    needs: ['imgs'],
    make: async (base: string) => {
      const keys = Array.from({ length: 6 }, (_, i) => `class${i % 2}/${String(i).padStart(3, '0')}.png`);
      await makeTensors(path.join(base, 'feats'), keys, { name: 'feature', dtype: 'f32', shape: [16, 8] });
    },
  },
  moments: {
    make: (base: string) =>
      makeTensors(path.join(base, 'moments'), ['a.png', 'b.png', 'c.png'], {
        name: 'moments',
        dtype: 'f32',
        shape: [8, 2, 2],
      }),
  },
  ckpt: {
    needs: ['latents', 'feats'],
    args: ['train', '--latents', 'latents', '--feats', 'feats', ...RUN, '--steps', '2', '--out', 'ckpt', '-q'],
  },
  sit: {
    make: async (base: string) => writeWeights(path.join(base, 'sit.safetensors'), fixtureWeights('sit')),
  },
  npz: { needs: ['latents'], args: ['export', 'latents', '-o', 'latents.npz'] },
  stats: {
    needs: ['imgs'],
    args: ['fid', 'imgs', '--net', 'emoji-vit', '--save-stats', 'stats.npz', ...ONE_THREAD],
  },
} as const satisfies Record<
  string,
  { needs?: readonly string[]; args?: readonly string[]; make?(base: string): Promise<unknown> }
>;

const LOG = /(^|\/)(log\.ndjson|run\.lock)$/;
/** What a broken download leaves to be continued. */
const DOWNLOAD = /\.incomplete(\.etag|\.lock\/run\.lock)?$/;
const CACHE = /^\.repa\/cache\//;

const TRAIN = [
  'train',
  '--latents',
  '../base/latents',
  '--feats',
  '../base/feats',
  ...RUN,
  '--steps',
  '2',
  '--depth',
  '1',
  '-q',
];

export const VERBS: readonly WritingVerb[] = [
  { name: 'cat', needs: ['latents'], args: ['cat', '../base/latents', '-o', 'out'] },
  { name: 'cat-parts', needs: ['latents'], args: ['cat', '../base/latents', '-o', 'parts/'] },
  { name: 'head', needs: ['latents'], args: ['head', '-n', '3', '../base/latents', '-o', 'out'] },
  { name: 'tail', needs: ['latents'], args: ['tail', '-n', '3', '../base/latents', '-o', 'out'] },
  { name: 'select', needs: ['latents'], args: ['select', '../base/latents', '--label', '0', '-o', 'out'] },
  { name: 'shuf', needs: ['latents'], args: ['shuf', '../base/latents', '-o', 'out'] },
  {
    name: 'split',
    needs: ['latents'],
    args: ['split', '../base/latents', '--share', '0.5', '-o', 'held', '--rest', 'rest'],
  },
  { name: 'join', needs: ['latents', 'feats'], args: ['join', '../base/latents', '../base/feats', '-o', 'out'] },
  {
    name: 'encode-vae',
    needs: ['imgs'],
    args: ['encode-vae', '../base/imgs', '--vae', 'emoji-vae', '--size', '16', '-o', 'out', ...ONE_THREAD],
  },
  {
    name: 'extract-dino',
    needs: ['imgs'],
    args: ['extract-dino', '../base/imgs', '--encoder', 'emoji-vit', '-o', 'out/', ...ONE_THREAD],
  },
  { name: 'decode-vae', needs: ['latents'], args: ['decode-vae', '../base/latents', '-o', 'out', ...ONE_THREAD] },
  {
    name: 'extract-hidden',
    needs: ['ckpt'],
    args: [
      'extract-hidden',
      '--ckpt',
      '../base/ckpt',
      '--latents',
      '../base/latents',
      '--num',
      '2',
      '-o',
      'out',
    ].concat(ONE_THREAD),
  },
  { name: 'train', needs: ['latents', 'feats'], partial: LOG, args: [...TRAIN, '--save-every', '1', '--keep', '9'] },
  {
    name: 'train-keep',
    needs: ['latents', 'feats'],
    partial: LOG,
    args: [...TRAIN, '--save-every', '1', '--keep', '1'],
  },
  { name: 'sample', needs: ['sit'], args: ['sample', ...SAMPLED, '--latents', '-o', 'out'] },
  {
    name: 'sample-parts',
    needs: ['sit'],
    args: ['sample', ...SAMPLED, '--latents', '--part-size', '2', '-o', 'out/'],
  },
  {
    name: 'sample-png',
    needs: ['ckpt'],
    args: ['sample', '--ckpt', '../base/ckpt', '--num', '2', ...SMALL, '--png', 'png/', '--grid', 'grid.png'],
  },
  { name: 'export-npz', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.npz'] },
  { name: 'export-npy', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.npy'] },
  { name: 'export-parquet', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.parquet'] },
  { name: 'export-tar', needs: ['images'], args: ['export', '../base/images', '-o', 'out.tar'] },
  { name: 'export-folder', needs: ['images'], args: ['export', '../base/images', '-o', 'out/'] },
  { name: 'export-moments', needs: ['moments'], args: ['export', '../base/moments', '-o', 'out/'] },
  { name: 'export-safetensors', needs: ['ckpt'], args: ['export', '../base/ckpt', '-o', 'out.safetensors'] },
  { name: 'export-pt', needs: ['ckpt'], args: ['export', '../base/ckpt', '-o', 'out.pt'] },
  { name: 'export-events', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'tensorboard', '-o', 'out/'] },
  { name: 'export-csv', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'csv', '-o', 'out.csv'] },
  { name: 'import', needs: ['npz'], args: ['import', '../base/latents.npz', '-o', 'out'] },
  { name: 'import-images', needs: ['imgs'], args: ['import', '../base/imgs', '-o', 'out'] },
  {
    name: 'import-pt',
    needs: [],
    args: ['import', WEIGHTS, '--heads', '2', '-o', 'ckpt'],
  },
  {
    name: 'fid-cache',
    needs: ['imgs'],
    dispensable: CACHE,
    args: ['fid', '../base/imgs', '../base/imgs', '--net', 'emoji-vit', ...ONE_THREAD],
  },
  {
    name: 'fid-stats',
    needs: ['imgs'],
    args: ['fid', '../base/imgs', '--net', 'emoji-vit', '--save-stats', 'out.npz', ...ONE_THREAD],
  },
  {
    name: 'merge-stats',
    needs: ['stats'],
    args: ['merge-stats', '../base/stats.npz', '../base/stats.npz', '-o', 'out.npz'],
  },
  { name: 'plot', needs: ['ckpt'], args: ['plot', '../base/ckpt', '-o', 'out.svg'] },
  { name: 'report', needs: ['ckpt'], args: ['report', '../base/ckpt', '-o', 'out.html'] },
  { name: 'pull', needs: [HUB], partial: DOWNLOAD, args: ['pull', 'sd-vae-ft-ema', '-q'] },
  { name: 'show-grid', needs: ['images'], args: ['show', '../base/images', '--grid', 'out.png'] },
];

/** Verbs that write to standard output. */
export const TO_STDOUT: readonly WritingVerb[] = [
  { name: 'cat', needs: ['latents'], args: ['cat', '../base/latents'] },
  { name: 'tail', needs: ['latents'], args: ['tail', '../base/latents'] },
  { name: 'import', needs: ['npz'], args: ['import', '../base/latents.npz'] },
  {
    name: 'encode-vae',
    needs: ['imgs'],
    args: ['encode-vae', '../base/imgs', '--vae', 'pixels', '--size', '16', '-q'],
  },
  { name: 'sample', needs: ['sit'], args: ['sample', ...SAMPLED, '--latents'] },
  { name: 'info', needs: ['latents'], args: ['info', '../base/latents'] },
  { name: 'diff', needs: ['latents'], args: ['diff', '../base/latents', '../base/latents'] },
  { name: 'verify', needs: ['latents'], args: ['verify', '../base/latents'] },
  { name: 'train', needs: ['latents', 'feats'], args: [...TRAIN] },
  { name: 'show', needs: ['images'], args: ['show', '../base/images'] },
  { name: 'help', needs: [], args: ['train', '--help'] },
];

/** A hub that has one file, under any name. */
async function startHub(): Promise<Server> {
  const body = readFileSync(WEIGHTS);
  const etag = createHash('sha256').update(body).digest('hex');
  const headers = { 'x-repo-commit': '0'.repeat(40), etag: `"${etag}"`, 'content-length': body.length };
  const server = createServer(({ method }, response) => {
    response.writeHead(200, headers).end(method === 'HEAD' ? undefined : body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** A place to run verbs in. */
export class Ground {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'repa-faults-'));
  readonly #made = new Set<string>();
  #hub: Server | undefined;

  constructor() {
    mkdirSync(this.base);
  }

  get base(): string {
    return path.join(this.folder, 'base');
  }

  /** Where verbs run: empty again after `clear`. */
  get cwd(): string {
    return path.join(this.folder, 'run');
  }

  /** What the shim writes to when a fault has happened. */
  get told(): string {
    return path.join(this.folder, 'told');
  }

  async prepare(needs: readonly string[]): Promise<void> {
    for (const name of needs) {
      if (this.#made.has(name)) continue;
      this.#made.add(name);
      if (name === HUB) {
        this.#hub = await startHub();
        continue;
      }
      const input: { needs?: readonly string[]; args?: readonly string[]; make?(base: string): Promise<unknown> } =
        INPUTS[name as keyof typeof INPUTS];
      await this.prepare(input.needs ?? []);
      await input.make?.(this.base);
      if (!input.args) continue;
      const { code, stderr } = await repa(input.args, { cwd: this.base });
      if (code !== 0) throw new Error(`${input.args.join(' ')}: ${stderr}`);
    }
  }

  clear(): void {
    rmSync(this.cwd, { recursive: true, force: true });
    rmSync(this.told, { force: true });
    mkdirSync(this.cwd);
  }

  run({ args }: WritingVerb, env: Record<string, string> = {}): Promise<Outcome> {
    return repa(args, { cwd: this.cwd, env: { ...this.#environment(), ...env } });
  }

  /** Without waiting for its end. */
  start({ args }: WritingVerb): { process: ChildProcess; ended: Promise<NodeJS.Signals | null> } {
    const env = { ...process.env, ...this.#environment() };
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: this.cwd, env, stdio: 'ignore' });
    return { process: child, ended: new Promise((resolve) => child.on('close', (_, signal) => resolve(signal))) };
  }

  /** No cache and no account of this machine. */
  #environment(): Record<string, string> {
    const folders = { REPA_HOME: path.join(this.cwd, '.repa'), HF_HOME: path.join(this.cwd, 'hf') };
    if (!this.#hub) return folders;
    const { port } = this.#hub.address() as AddressInfo;
    return { ...folders, HF_HUB_CACHE: path.join(this.cwd, 'hf/hub'), HF_ENDPOINT: `http://127.0.0.1:${port}` };
  }

  remove(): void {
    this.#hub?.close();
    this.#hub?.closeAllConnections();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
