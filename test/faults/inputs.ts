/** What verbs read in a campaign of faults, and how it comes to be. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { makeImages, makeTensors } from '../commands/support.js';
import { RUN } from '../commands/training-run.js';
import { fixtureWeights, writeWeights } from '../fixture-weights.js';
import { indexOf, wheel } from '../lib/hub/wheels.js';
import { fixturePath } from '../support.js';

/** What `base` holds, and the servers that verbs ask. */
export type Input = keyof typeof INPUTS | keyof typeof SERVERS;

interface Recipe {
  readonly needs?: readonly string[];
  /** Made by `make`, or by this command. */
  readonly args?: readonly string[];
  make?(base: string): Promise<unknown>;
}

export const WEIGHTS = fixturePath('official/training.pt');
export const ONE_THREAD = ['--threads', '1'];

const TRAIN = ['train', '--latents', 'latents', '--feats', 'feats', ...RUN, '-q'];
/** The pictures of `imgs`, by name. */
const KEYS = Array.from({ length: 6 }, (_, i) => `class${i % 2}/${String(i).padStart(3, '0')}.png`);

const INPUTS = {
  imgs: { make: (base: string) => makeImages(path.join(base, 'imgs'), 6) },
  images: { needs: ['imgs'], args: ['import', 'imgs', '-o', 'images'] },
  latents: { needs: ['imgs'], args: ['encode-vae', 'imgs', '--vae', 'pixels', '--size', '16', '-o', 'latents'] },
  feats: {
    make: (base: string) =>
      makeTensors(path.join(base, 'feats'), KEYS, { name: 'feature', dtype: 'f32', shape: [16, 8] }),
  },
  text: {
    make: (base: string) => {
      const captions = [...KEYS.map((key) => `${key}#0`), '#'];
      return makeTensors(path.join(base, 'text'), captions, { name: 'text', dtype: 'f32', shape: [5, 12] });
    },
  },
  captions: {
    make: async (base: string) =>
      writeFileSync(
        path.join(base, 'captions.json'),
        JSON.stringify({ 'a.png': 'two dogs', 'b.png': ['a cat', 'it'] }),
      ),
  },
  moments: {
    make: (base: string) =>
      makeTensors(path.join(base, 'moments'), ['a.png', 'b.png', 'c.png'], {
        name: 'moments',
        dtype: 'f32',
        shape: [8, 2, 2],
      }),
  },
  ckpt: { needs: ['latents', 'feats'], args: [...TRAIN, '--steps', '2', '--out', 'ckpt'] },
  averaged: {
    needs: ['latents', 'feats'],
    args: [...TRAIN, '--ema', '0.9,sigma:0.05,sigma:0.1', '--steps', '4', '--save-every', '1', '--out', 'averaged'],
  },
  sit: {
    make: async (base: string) => writeWeights(path.join(base, 'sit.safetensors'), fixtureWeights('sit')),
  },
  npz: { needs: ['latents'], args: ['export', 'latents', '-o', 'latents.npz'] },
  parquet: { needs: ['latents'], args: ['export', 'latents', '-o', 'latents.parquet'] },
  stats: {
    needs: ['imgs'],
    args: ['fid', 'imgs', '--net', 'emoji-vit', '--save-stats', 'stats.npz', ...ONE_THREAD],
  },
} as const satisfies Record<string, Recipe>;

export const recipeOf = (name: Input): Recipe | undefined => (INPUTS as Record<string, Recipe>)[name];

/** Servers that verbs ask: each tells the variables by which it is found. */
export const SERVERS = { hub: startHub, index: startIndex } as const;

export interface Served {
  readonly env: Readonly<Record<string, string>>;
  close(): void;
}

/** A hub that has one file, under any name. */
async function startHub(): Promise<Served> {
  const body = readFileSync(WEIGHTS);
  const etag = createHash('sha256').update(body).digest('hex');
  const headers = { 'x-repo-commit': '0'.repeat(40), etag: `"${etag}"`, 'content-length': body.length };
  const { address, close } = await serve(({ method }, response) => {
    response.writeHead(200, headers).end(method === 'HEAD' ? undefined : body);
  });
  return { env: { HF_ENDPOINT: address }, close };
}

/** An index of Python packages with a plugin of two wheels. */
async function startIndex(): Promise<Served> {
  const library = { data: 'a library '.repeat(2000) };
  const machine = `manylinux2014_${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`;
  const wheels = [
    wheel('libtpu', '1.0', { 'libtpu/libtpu.so': library }, ['other>=1'], `py3-none-${machine}`),
    wheel('other', '1.2', { 'other/data': library }),
  ];
  const { address, close } = await serve(indexOf(wheels, { json: true }));
  return { env: { PIP_INDEX_URL: `${address}/simple/`, PIP_CONFIG_FILE: '/dev/null' }, close };
}

/** A server on loopback, until it is closed. */
async function serve(answer: RequestListener): Promise<{ address: string; close(): void }> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}
