import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { fixturePath } from '../support.js';
import { repa, temporaryFolder } from './binary.js';
import { makeTensors } from './support.js';

/** A safetensors file of this header and so many bytes. */
function safetensors(header: object, bytes: number): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(bytes)]);
}

const tensor = (shape: number[], ...range: number[]) => ({ dtype: 'F32', shape, data_offsets: range });

/** A zip of one deflated member that claims to unpack to `size` bytes. */
function zip(name: string, packed: Buffer, size: number): Buffer {
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50);
  local.writeUInt16LE(name.length, 26);
  const central = Buffer.alloc(46);
  local.writeUInt16LE(8, 8);
  local.writeUInt32LE(packed.length, 18);
  local.writeUInt32LE(size, 22);
  central.writeUInt32LE(0x02014b50);
  central.writeUInt16LE(8, 10); // deflated
  central.writeUInt32LE(packed.length, 20);
  central.writeUInt32LE(size, 24);
  central.writeUInt16LE(name.length, 28);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length + name.length, 12);
  end.writeUInt32LE(local.length + name.length + packed.length, 16);
  const [first, second] = [local, central].map((header) => Buffer.concat([header, Buffer.from(name)]));
  return Buffer.concat([first, packed, second, end]);
}

/** An array of 4 zeros that is said to be larger. */
function npy(shape: string): Buffer {
  const header = Buffer.from(
    `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }`.padEnd(117).concat('\n'),
  );
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Buffer.of(header.length, 0),
    header,
    Buffer.alloc(16),
  ]);
}

const good = { 'patch_embed.proj.weight': tensor([2], 0, 8), pos_embed: tensor([2], 8, 16) };
const bomb = deflateRawSync(Buffer.alloc(2 ** 24));

const FILES: [name: string, bytes: () => Buffer, message: RegExp][] = [
  ['system.pt', () => readFileSync(fixturePath('ckpt/evil-system.pt')), /'posix\.system' in the pickle.*not allowed/],
  ['opcode.pt', () => readFileSync(fixturePath('ckpt/evil-inst.pt')), /opcode \w+ in the pickle/],
  ['length.pt', () => readFileSync(fixturePath('ckpt/bad-length.pt')), /storage '0' of 1125899906842624 f32/],
  ['shape.pt', () => readFileSync(fixturePath('ckpt/bad-shape.pt')), /absurd sizes/],
  ['offset.pt', () => readFileSync(fixturePath('ckpt/bad-negative-offset.pt')), /absurd sizes/],
  ['short.pt', () => readFileSync(fixturePath('ckpt/train.pt')).subarray(0, 900), /truncated/],
  ['overlap.safetensors', () => safetensors({ ...good, pos_embed: tensor([2], 4, 12) }, 12), /overlapping/],
  ['negative.safetensors', () => safetensors({ ...good, pos_embed: tensor([2], -8, 0) }, 16), /not valid/],
  ['absurd.safetensors', () => safetensors({ pos_embed: tensor([2 ** 40, 2 ** 40], 0, 16) }, 16), /do not fit/],
  ['short.safetensors', () => safetensors(good, 16).subarray(0, -1), /truncated/],
  ['header.safetensors', () => Buffer.concat([Buffer.alloc(7, 255), Buffer.from('\0{}')]), /header of \d+ bytes/],
  ['claim.npz', () => zip('a.npy', bomb, 2 ** 32 - 2), /claims \d+ bytes from \d+/],
  ['absurd.npz', () => zip('a.npy', deflateRawSync(npy('1099511627776,')), 144), /takes \d+ bytes/],
  ['bomb.npz', () => zip('a.npy', bomb, 144), /a\.npy|cannot be unpacked/],
];

/** Says at the end how much memory the process took at most, in KiB. */
const REPORT = `data:text/javascript,process.on('exit',()=>process.stderr.write('maxrss=' + process.resourceUsage().maxRSS))`;
const MOST_KIB = 300 * 1024; // an idle process takes about 100 MiB

test('hostile and damaged weights are refused with exit 65, in little memory, and nothing of them is run', async (t) => {
  const cwd = temporaryFolder(t);
  for (const [name, bytes, message] of FILES) {
    const file = path.join(cwd, name);
    writeFileSync(file, bytes());
    const args = ['extract-dino', fixturePath('images'), '--weights', file, '-o', 'feats'];
    const { code, stderr } = await repa(args, { cwd, env: { NODE_OPTIONS: `--import "${REPORT}"` } });
    assert.equal(code, 65, `${name}: ${stderr}`);
    assert.match(stderr, message, name);
    assert.ok(stderr.includes(name), stderr);
    const memory = Number(/maxrss=(\d+)/.exec(stderr)![1]);
    assert.ok(memory < MOST_KIB, `${name}: ${memory} KiB`);
  }
  assert.equal(existsSync(path.join(cwd, 'repa-pickle-ran')), false);
  assert.deepEqual(readdirSync(cwd).sort(), FILES.map(([name]) => name).sort());
});

test('what every object has is no metric and no model', async (t) => {
  const cwd = temporaryFolder(t);
  await makeTensors(path.join(cwd, 'feats'), ['a', 'b', 'c'], { name: 'feature', dtype: 'f32', shape: [4] });
  for (const args of [
    ['fid', 'feats', '--ref', 'feats', '--net', 'emoji-vit', '--metrics', 'constructor'],
    ['cknna', 'feats', 'feats', '--metric', 'toString'],
    ['train', '--latents', 'feats', '--lambda', '0', '--model', 'SiT-constructor/2'],
  ]) {
    const { code, stderr } = await repa(args, { cwd });
    assert.ok(code === 2 || code === 65, `${args.join(' ')}: ${code}, ${stderr}`);
    assert.doesNotMatch(stderr, /bug of repa/);
  }
});
