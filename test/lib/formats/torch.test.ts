import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import fc from 'fast-check';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { writeFileAtomicAsync } from '../../../src/lib/files/atomic-file.js';
import { foreignName, isDict, type PickleDict, unpickle } from '../../../src/lib/formats/pickle.js';
import { openSafetensors, writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import { openTorch } from '../../../src/lib/formats/torch.js';
import { torchGlobals } from '../../../src/lib/formats/torch-globals.js';
import { TorchTensor } from '../../../src/lib/formats/torch-tensor.js';
import { openWeights } from '../../../src/lib/formats/weights-file.js';
import { ZipWriter } from '../../../src/lib/formats/zip-writer.js';
import { bytesOf } from '../../../src/lib/numbers/typed-array.js';
import { fixturePath, temporaryFolder } from '../../support.js';

const folder = temporaryFolder();
const fixture = (name: string) => fixturePath(`ckpt/${name}`);
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown;

const hashes = JSON.parse(readFileSync(fixture('sha256.json'), 'utf8')) as Record<
  string,
  Record<string, { shape: number[]; sha256: string }>
>;
assert.equal(Object.keys(hashes).length, 2);

for (const [name, expected] of Object.entries(hashes)) {
  test(`${name}: every tensor of a state dict that PyTorch saved, bit for bit`, () => {
    const weights = openWeights(fixture(name));
    assert.deepEqual([...weights.names].sort(), Object.keys(expected).sort());
    for (const [key, { shape, sha256 }] of Object.entries(expected)) {
      assert.deepEqual(weights.info(key), { shape, dtype: 'f32' });
      const tensor = weights.read(key);
      assert.deepEqual(tensor.shape, shape);
      assert.equal(createHash('sha256').update(bytesOf(tensor.data)).digest('hex'), sha256, key);
    }
    weights.close();
  });
}

for (const name of ['tricky_zip_t113.pt', 'tricky_legacy_t113.pt']) {
  test(`${name}: views, transposes, expansions, scalars, empties, parameters and every element type`, () => {
    const expected = openSafetensors(fixture('tricky_expected_t113.safetensors'));
    assert.equal(expected.names.length, 14);
    const file = openTorch(fixture(name));
    const root = file.root as PickleDict;
    for (const key of expected.names) {
      const tensor = root[key];
      assert.ok(tensor instanceof TorchTensor, key);
      assert.deepEqual(tensor.read(), expected.read(key), key);
    }
    const { big, ...nested } = root.nested as PickleDict;
    assert.equal(big, 2n ** 70n);
    assert.deepEqual(plain(nested), {
      list: [1, 2.5, 'é', null, true, [1, 2]],
      size: [2, 3],
      dtype: 'torch.float16',
      dev: 'cpu',
      neg: -5,
      np: 2.5,
      set: [1],
    });
    file.close();
  });
}

for (const name of ['train.pt', 'train-protocol4.pt']) {
  test(`${name}: a training checkpoint with its arguments and optimiser`, () => {
    const file = openTorch(fixture(name));
    const { args, steps, opt } = file.root as PickleDict & { opt: { state: PickleDict; param_groups: unknown } };
    assert.ok(isDict(args));
    assert.deepEqual({ ...args }, { model: 'SiT-S/2', seed: -1, qk_norm: false, note: null });
    assert.equal(steps, 2);
    assert.deepEqual(plain(opt.param_groups), [{ lr: 1e-4, betas: [0.9, 0.999] }]);
    const step = (opt.state[0] as PickleDict).step as TorchTensor;
    assert.deepEqual(step.read(), { shape: [], dtype: 'f32', data: Float32Array.of(1) });
    file.close();
  });
}

test('a view of a storage, as the oldest checkpoints hold it, is followed', () => {
  assert.deepEqual(openWeights(fixture('legacy-view.pt')).read('w').data, Float32Array.of(2, 3));
});

test('the state dict is found by rule or by key, and module. is taken off', () => {
  const values = (weights: ReturnType<typeof openWeights>) =>
    Object.fromEntries(weights.names.map((name) => [name, [...(weights.read(name).data as Float32Array)]]));
  const open = (name: string, key?: string) => values(openWeights(fixture(name), key === undefined ? {} : { key }));
  assert.deepEqual(open('train.pt'), { w: [5, 6], b: [6] });
  assert.deepEqual(open('train.pt', 'model'), { w: [1, 2] });
  assert.deepEqual(open('encoder.pt'), { x: [1, 2, 3, 4] });
  assert.deepEqual(open('encoder.pt', 'encoder.deep'), { x: [1, 3, 2, 4] });
  assert.throws(
    () => open('train.pt', 'args'),
    (error: Error) => {
      return (
        error instanceof DataError &&
        /at 'args'/.test(error.message) &&
        /model, ema, opt, args, steps/.test(error.hint ?? '')
      );
    },
  );
  assert.throws(() => open('no-tensors.pt'), /holds no tensors where they are looked for/);
  assert.throws(() => openWeights(fixture('train.pt')).read('none'), /has no tensor 'none'/);
});

test('weights are told apart by content', () => {
  const disguised = path.join(folder, 'weights.pt');
  writeSafetensors(disguised, [['w', { dtype: 'f32', shape: [1], data: Float32Array.of(3) }]], { format: 'pt' });
  const weights = openWeights(disguised);
  assert.deepEqual([weights.names, weights.metadata.format], [['w'], 'pt']);
  assert.throws(() => openWeights(disguised, { key: 'ema' }), /it is a safetensors file, which is flat/);
  assert.deepEqual(openWeights(fixturePath('formats/stored.npz')).read('f64').data, Float64Array.of(0.1));
  assert.throws(() => openWeights(fixturePath('formats/pax.tar')), /not a weights file/);
  writeFileSync(disguised, '');
  assert.throws(() => openWeights(disguised), /not a weights file/);
  assert.throws(() => openWeights(path.join(folder, 'none')), MissingInputError);
});

test('hostile checkpoints are refused before anything is run or allocated', () => {
  const cases: Record<string, RegExp> = {
    'evil-system.pt': /'posix\.system' in the pickle, at byte \d+, is not allowed/,
    'evil-inst.pt': /opcode (STRING|INST) in the pickle/,
    'evil-forged-storage.pt': /a tensor without a storage/,
    'bad-offset.pt': /does not fit its storage '0' of 4 elements/,
    'bad-negative-offset.pt': /a tensor of absurd sizes/,
    'bad-negative-stride.pt': /a tensor of absurd sizes/,
    'bad-shape.pt': /a tensor of absurd sizes/,
    'bad-axes.pt': /a tensor of absurd sizes/,
    'bad-expansion.pt': /does not fit its storage/,
    'bad-strides.pt': /does not fit its storage/,
    'bad-length.pt': /storage '0' of 1125899906842624 f32 elements has 16 bytes/,
    'bad-legacy-view.pt': /a view outside its storage '0'/,
    'bad-legacy-endian.pt': /big-endian/,
    'bad-legacy-protocol.pt': /legacy checkpoint of protocol 1002/,
    'bad-legacy-missing.pt': /storage '0' is not in the file/,
    'bad-legacy-unknown.pt': /a storage that no tensor names, at byte \d+/,
    'bad-missing-storage.pt': /storage '1' of 2 f32 elements has no bytes/,
  };
  for (const [name, message] of Object.entries(cases)) {
    assert.throws(
      () => openTorch(fixture(name)),
      (error: Error) => {
        assert.ok(error instanceof DataError, `${name}: ${error}`);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.equal(existsSync('repa-pickle-ran'), false);
});

for (const protocol of [2, 4]) {
  test(`objects of classes that are not known are what they hold, and weights are read beside them (protocol ${protocol})`, () => {
    const file = openTorch(fixture(`foreign-protocol${protocol}.pt`));
    const { args, ema, turns } = file.root as Record<'args' | 'ema' | 'turns', PickleDict>;
    assert.deepEqual((ema['module.w'] as TorchTensor).read().data, Float32Array.of(5, 6));
    assert.equal(foreignName(turns), 'torch.ComplexFloatStorage');
    const { config, slots, fields, default: items, space, keys, seed } = plain(args) as Record<string, unknown>;
    assert.deepEqual([config, slots, fields], [{ depth: 2, inner: { width: 8 } }, { depth: 3 }, { classes: 3 }]);
    assert.deepEqual([items, space, seed, keys], [{ k: [1] }, { a: 1 }, 7, { plain: 6 }]);
    const names = ['path', 'array', 'half', 'config', 'items', 'counter', 'deque', 'complex', 'when', 'part', 'kind'];
    for (const name of names) assert.match(foreignName(args[name]) ?? '', /^\w+(\.\w+)+$/, name);
    file.close();
  });
}

test('what runs programs is refused by its name, whatever is made of it', () => {
  const names = ['posix system', 'os popen', 'subprocess Popen', 'builtins eval', '__builtin__ exec', 'runpy run_path'];
  for (const name of [...names, 'nt system', 'importlib import_module', 'os.path join', 'webbrowser open']) {
    assert.throws(() => pickle(`c${name.replace(' ', '\n')}\n.`), /in the pickle, at byte \d+, is not allowed/, name);
  }
  assert.equal(foreignName(pickle('ccosmic\nsystem\n.')), 'cosmic.system');
});

test('a small pickle cannot take memory or time without end', async () => {
  const file = path.join(folder, 'bomb.pt');
  const many = 2 ** 23;
  const bombs: [string, Buffer][] = [
    ['lists', Buffer.concat([Buffer.of(0x80, 2), Buffer.alloc(many, ']'), Buffer.from('.')])],
    // A list of 1000 pairs, made a dictionary again and again.
    [
      'dictionaries',
      Buffer.concat([
        Buffer.from('\x80\x02ccollections\nOrderedDict\nq\x00', 'latin1'),
        Buffer.from(']('),
        ...Array.from({ length: 1000 }, (_, i) =>
          Buffer.from(`X\x04\0\0\0${String(i).padStart(4, '0')}N\x86`, 'latin1'),
        ),
        Buffer.from('e\x85q\x01', 'latin1'),
        Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from('h\x00h\x01R0', 'latin1'))),
        Buffer.from('.'),
      ]),
    ],
    [
      'texts',
      Buffer.concat([
        Buffer.from('\x80\x02c_codecs\nencode\nq\x00X\0\0\x01\0', 'latin1'),
        Buffer.alloc(65536, 'a'),
        Buffer.from('q\x01X\x06\0\0\0latin1\x86q\x02', 'latin1'),
        Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from('h\x00h\x02R0', 'latin1'))),
        Buffer.from('.'),
      ]),
    ],
  ];
  for (const [name, bytes] of bombs) {
    await writeFileAtomicAsync(file, async (fd) => {
      const zip = new ZipWriter(fd);
      await zip.add('a/data.pkl', bytes.length, [bytes]);
      zip.end();
    });
    assert.throws(() => openTorch(file), /damaged pickle at byte \d+: more than 4194304 steps/, name);
  }
  const protocol = Buffer.from(`\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02}.`, 'latin1');
  writeFileSync(file, protocol);
  assert.throws(() => openTorch(file), /legacy checkpoint of protocol an object/);
});

test('a tensor that is a part of its storage is given when the whole storage has its CRC', async () => {
  const file = path.join(folder, 'part.pt');
  const pickle = Buffer.from(
    '\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\x01K\x02\x85K\x01\x85\x89}tRs.',
    'latin1',
  );
  await writeFileAtomicAsync(file, async (fd) => {
    const zip = new ZipWriter(fd);
    await zip.add('a/data.pkl', pickle.length, [pickle]);
    await zip.add('a/data/0', 16, [Buffer.from(Float32Array.of(1, 2, 3, 4).buffer)]);
    zip.end();
  });
  const read = () => openWeights(file).read('w').data;
  assert.deepEqual(read(), Float32Array.of(2, 3));
  const bytes = readFileSync(file);
  for (const value of [2, 4]) {
    const flipped = Buffer.from(bytes);
    flipped[flipped.indexOf(Buffer.from(Float32Array.of(value).buffer))] ^= 1;
    writeFileSync(file, flipped);
    assert.throws(read, /the CRC does not match/);
  }
});

test('a TorchScript program is told from a checkpoint', async () => {
  const file = path.join(folder, 'clip.pt');
  await writeFileAtomicAsync(file, async (fd) => {
    const zip = new ZipWriter(fd);
    for (const name of ['clip/data.pkl', 'clip/code/__torch__.py', 'clip/constants.pkl']) await zip.add(name, 0, []);
    zip.end();
  });
  assert.throws(() => openTorch(file), /clip\.pt: a TorchScript program/);
});

/** Opens, reads everything, and lets only a DataError pass. */
function refusal(file: string): boolean {
  try {
    const torch = openTorch(file);
    try {
      for (const value of Object.values(torch.root ?? {})) if (value instanceof TorchTensor) value.read();
    } finally {
      torch.close();
    }
    return false;
  } catch (error) {
    assert.ok(error instanceof DataError, `${(error as Error).stack}`);
    return true;
  }
}

for (const name of ['tricky_zip_t113.pt', 'tricky_legacy_t113.pt']) {
  const good = readFileSync(fixture(name));
  const file = path.join(folder, name);

  test(`${name}: no truncation passes`, () => {
    for (let size = good.length - 1; size >= 0; size -= 7) {
      writeFileSync(file, good.subarray(0, size));
      assert.ok(refusal(file), `cut at ${size}`);
    }
  });

  test(`${name}: a flipped byte never does worse than a DataError`, () => {
    for (let at = 0; at < good.length; at += 3) {
      const bytes = Buffer.from(good);
      bytes[at] ^= 0xff;
      writeFileSync(file, bytes);
      refusal(file);
    }
  });
}

const machine = (bytes: Uint8Array) =>
  unpickle(
    { size: bytes.length, read: (offset, length) => bytes.subarray(offset, offset + length) },
    { where: 'x', findGlobal: torchGlobals(() => new Uint8Array(), 'x'), persistentLoad: () => null },
  ).value;
const pickle = (text: string) => machine(Uint8Array.from(Buffer.from(text, 'latin1')));

test('any bytes, and any sequence of opcodes, end in a value or a DataError', () => {
  const opcodes = [
    ...'().012NJKMGXTUBCaetu}]scRbQqrhj\x80\x81\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95',
  ];
  const names = [
    'ccollections\nOrderedDict\n',
    'cargparse\nNamespace\n',
    'ctorch\nSize\n',
    'ctorch\ndevice\n',
    'cnumpy\ndtype\n',
    'cnumpy.core.multiarray\nscalar\n',
    'c_codecs\nencode\n',
    'ctorch._utils\n_rebuild_tensor_v2\n',
    'ctorch\nFloatStorage\n',
    'cpathlib\nPosixPath\n',
    'U\x01a',
    'K\x01',
  ];
  const program = fc
    .array(fc.constantFrom(...opcodes, ...names), { maxLength: 30 })
    .map((parts) => `${parts.join('')}.`);
  const bytes = fc.uint8Array({ maxLength: 60 }).map((values) => String.fromCharCode(...values));
  fc.assert(
    fc.property(fc.oneof(program, bytes), (text) => {
      try {
        pickle(text);
      } catch (error) {
        assert.ok(error instanceof DataError, `${(error as Error).stack}`);
      }
    }),
    { numRuns: 3000 },
  );
});

test('pickles of plain values', () => {
  assert.deepEqual(plain(pickle('}(X\x01\x00\x00\x00aK\x07K\x03]K\x08au.')), { 3: [8], a: 7 });
  assert.equal(pickle('\x8a\x02\x00\xff.'), -256);
  assert.equal(pickle('\x8a\x00.'), 0);
  assert.deepEqual(pickle('(K\x01K\x02\x86K\x032t.'), [[1, 2], 3, 3]);
  assert.deepEqual(plain(pickle('ccollections\nOrderedDict\n(]U\x01aK\x01\x86atR.')), { a: 1 });
  const dict = pickle('}U\x09__proto__K\x01s.') as PickleDict;
  assert.deepEqual([Object.getPrototypeOf(dict), Object.keys(dict)], [null, ['__proto__']]);
  assert.throws(() => pickle('V\x61\n.'), /opcode UNICODE in the pickle, at byte 0, is not allowed/);
  assert.throws(() => pickle('\xff.'), /opcode 0xff/);
  assert.throws(() => pickle('}K\x01b.'), /a state for an object that has none/);
  assert.throws(() => pickle(`c${'a'.repeat(5000)}`), /an endless name/);
  assert.throws(() => pickle(`\x8b\xff\xff\xff\x7f`), /an integer of 2147483647 bytes/);
  assert.throws(() => pickle('K\x01'), /truncated: the pickle goes on past byte 2/);
});
