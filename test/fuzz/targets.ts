/** The formats that are read, each with a sound file, and what may be made of a changed one. */
import { createReadStream, readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { readNpyRows, readNpzRows } from '../../src/lib/exchange/arrays.js';
import { sha256OfText } from '../../src/lib/files/sha256.js';
import { encodeNpy } from '../../src/lib/formats/npy.js';
import { writeNpz } from '../../src/lib/formats/npz.js';
import { readTar } from '../../src/lib/formats/tar.js';
import { TarWriter } from '../../src/lib/formats/tar-writer.js';
import { openWeights } from '../../src/lib/formats/weights-file.js';
import { bytesOf } from '../../src/lib/numbers/typed-array.js';
import { openTensorFile } from '../../src/lib/stream/file.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import type { StreamSchema } from '../../src/lib/stream/schema.js';
import { encode, type Row } from '../lib/stream/support.js';
import { fixturePath } from '../support.js';
import { below, mutant, pick, type Random } from './mutate.js';
import { onnxTarget } from './onnx-target.js';
import { pictureTargets } from './picture-targets.js';
import { recordTargets } from './record-targets.js';
import { type Reader, type Store, type Target, target } from './target.js';

const SCHEMA: StreamSchema = {
  columns: [
    { name: 'latent', dtype: 'f16', shape: [2, 2] },
    { name: 'image', dtype: 'u8', shape: [3] },
  ],
  metadata: { 'repa.kind': 'test' },
};

const row = (key: string, label: number): Row => ({
  key,
  label,
  tensors: { latent: Uint16Array.of(label, 2, 3, 4), image: Uint8Array.of(label, 5, 6) },
});

/** Where the messages of a sound stream begin, and its end. */
function boundaries(stream: Buffer): number[] {
  const found: number[] = [];
  const marker = Buffer.of(255, 255, 255, 255);
  for (let at = stream.indexOf(marker); at >= 0; at = stream.indexOf(marker, at + 8)) if (at % 8 === 0) found.push(at);
  return [...found, stream.length];
}

const messagesOf = (stream: Buffer): Buffer[] => {
  const at = boundaries(stream);
  return at.slice(0, -1).map((start, i) => stream.subarray(start, at[i + 1]));
};

/** Messages left out, doubled, moved, or taken from another stream; or bytes changed. */
function streamMutant(streams: readonly Buffer[], random: Random): Buffer {
  const own = pick(random, streams);
  if (random() < 0.5) return mutant(own, random);
  const messages = messagesOf(own);
  for (let left = 1 + below(random, 3); left > 0; left--) {
    const at = below(random, messages.length);
    const other = pick(random, messagesOf(pick(random, streams)));
    const change = below(random, 4);
    if (change === 0) messages.splice(at, 1);
    else if (change === 1) messages.splice(at, 0, pick(random, messages) ?? other);
    else if (change === 2) messages.splice(at, 1, other);
    else messages.splice(below(random, messages.length + 1), 0, ...messages.splice(at, 1));
  }
  return Buffer.concat(messages);
}

const show = (key: string, label: number, tensors: Iterable<readonly [string, ArrayBufferView]>): string =>
  `${JSON.stringify(key)} ${label} ${[...tensors].map(([name, data]) => `${name}=${hex(data)}`).join(' ')}`;

const hex = ({ buffer, byteOffset, byteLength }: ArrayBufferView): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('hex');

async function inSequence(file: string): Promise<string> {
  const rows: string[] = [];
  for await (const batch of await openTensorStream(file)) {
    rows.push(show(batch.keys.join('\0'), batch.start, [['labels', batch.labels], ...Object.entries(batch.tensors)]));
  }
  return rows.join('\n');
}

async function inAnyOrder(file: string): Promise<string> {
  const opened = await openTensorFile(file);
  try {
    const rows: string[] = [];
    for (const batch of opened.inOrder()) {
      rows.push(show(batch.keys.join('\0'), batch.start, [['labels', batch.labels], ...Object.entries(batch.tensors)]));
    }
    return rows.join('\n');
  } finally {
    opened.close();
  }
}

/** Both readers must judge alike. */
async function byBoth(file: string): Promise<string> {
  const [first, second] = await Promise.allSettled([inSequence(file), inAnyOrder(file)]);
  if (first.status !== second.status) throw new Error(`one reader alone refuses: ${[first, second].map(reasonOf)}`);
  if (first.status === 'rejected') {
    const other = second as PromiseRejectedResult;
    throw first.reason.name === 'DataError' ? other.reason : first.reason;
  }
  if (first.value !== (second as PromiseFulfilledResult<string>).value) throw new Error('the readers differ');
  return first.value;
}

const reasonOf = (result: PromiseSettledResult<string>): string =>
  result.status === 'rejected' ? `${result.reason}` : 'read';

async function arrays(source: ReturnType<typeof readNpyRows>): Promise<string> {
  const rows: string[] = [];
  for await (const { key, label, tensors } of source.rows) rows.push(show(key, label, Object.entries(tensors)));
  return rows.join('\n');
}

async function weights(file: string): Promise<string> {
  const opened = openWeights(file);
  try {
    const rows = opened.names.map((name) => {
      const { dtype, shape, data } = opened.read(name);
      return `${name} ${dtype} ${shape} ${hex(bytesOf(data))}`;
    });
    return rows.join('\n');
  } finally {
    opened.close();
  }
}

async function tar(file: string): Promise<string> {
  const rows: string[] = [];
  for await (const entry of readTar(createReadStream(file), file))
    rows.push(`${entry.name} ${hex(await entry.read())}`);
  return rows.join('\n');
}

/** All of them; whoever asked closes them. */
export const targets = async (folder: string, store: Store): Promise<Target[]> => [
  ...(await tensorTargets(folder, store)),
  ...(await pictureTargets(folder, store)),
  ...(await recordTargets(folder, store)),
  await onnxTarget(store),
];

async function tensorTargets(folder: string, store: Store): Promise<Target[]> {
  const streams = await Promise.all(
    [
      ['a', 'b', 'c'],
      ['a', 'b', 'd'],
      ['e', 'f', 'g', 'h'],
    ].map((keys, stream) =>
      encode(
        SCHEMA,
        keys.map((key, i) => row(key, 10 * stream + i)),
        160,
      ),
    ),
  );
  const values = { dtype: 'f32', shape: [5, 3], data: Float32Array.from({ length: 15 }, (_, i) => i / 4) } as const;
  const labels = { dtype: 'i64', shape: [5], data: BigInt64Array.of(4n, 3n, 2n, 1n, 0n) } as const;
  const npz = path.join(folder, 'made.npz');
  await writeNpz(npz, [
    ['x', { ...values, shape: [...values.shape] }],
    ['label', { ...labels, shape: [...labels.shape] }],
  ]);
  const chunks: Uint8Array[] = [];
  const writer = new TarWriter({ write: async (pieces) => void chunks.push(...pieces) });
  await writer.append('a/b.txt', Buffer.from('hello'));
  await writer.append('x'.repeat(150), Buffer.alloc(600, 7));
  await writer.end();
  const archive = Buffer.concat(chunks);
  const fixture = (name: string): Buffer => readFileSync(fixturePath(name));
  const short: (read: Reader) => Reader = (read) => async (file) => sha256OfText(await read(file));
  return [
    await target('tensor stream', true, streams, short(byBoth), store, (random) => streamMutant(streams, random)),
    await target(
      'npz',
      true,
      [readFileSync(npz)],
      short((file) => arrays(readNpzRows(file))),
      store,
    ),
    await target(
      'npy',
      false,
      [Buffer.from(encodeNpy({ ...values, shape: [...values.shape] }))],
      short((file) => arrays(readNpyRows(file))),
      store,
    ),
    await target(
      'torch zip',
      true,
      [fixture('ckpt/tricky_zip_t113.pt'), fixture('ckpt/encoder.pt')],
      short(weights),
      store,
    ),
    await target('torch legacy', false, [fixture('ckpt/tricky_legacy_t113.pt')], short(weights), store),
    await target('safetensors', false, [fixture('ckpt/tricky_expected_t113.safetensors')], short(weights), store),
    await target('tar', false, [archive], short(tar), store),
    await target('tar.gz', false, [gzipSync(archive)], short(tar), store),
  ];
}
