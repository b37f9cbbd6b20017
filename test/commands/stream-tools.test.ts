/** tail, select, shuf, split, join and diff, through the real program. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { withScales } from '../../src/lib/stream/schema.js';
import { atomicFileSink } from '../../src/lib/stream/sink.js';
import { TensorWriter } from '../../src/lib/stream/writer.js';
import { writeNpy } from '../support.js';
import { repa, shell, temporaryFolder } from './binary.js';

type Rows = Record<string, { label: number; values: number[] }>;

/** A stream whose row i has the key `k<i>`, the label i % 3 and the values i, i + 0.5. */
async function makeStream(file: string, rows: readonly number[], name = 'feature'): Promise<void> {
  const sink = await atomicFileSink(file);
  const writer = new TensorWriter(sink, {
    columns: [{ name, dtype: 'f32', shape: [2] }],
    metadata: { 'repa.kind': name },
  });
  for (const i of rows) await writer.append(`k${i}`, i % 3, { [name]: Float32Array.of(i, i + 0.5) });
  await writer.end();
}

/** Rows by key, in their order, of one column. */
async function rowsOf(file: string, column = 'feature'): Promise<Rows> {
  const rows: Rows = {};
  for await (const batch of await openTensorStream(file)) {
    const size = batch.tensors[column].length / batch.rows;
    batch.keys.forEach((key, row) => {
      const values = [...batch.tensors[column].slice(row * size, (row + 1) * size)];
      rows[key] = { label: batch.labels[row], values };
    });
  }
  return rows;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

async function folder(t: TestContext): Promise<(name: string) => string> {
  const cwd = temporaryFolder(t);
  await makeStream(path.join(cwd, 'a'), numbers(40));
  return (name) => path.join(cwd, name);
}

async function succeeds(cwd: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await repa(args, { cwd });
  assert.equal(code, 0, stderr);
  return stdout.toString();
}

test('--json writes a line a row: values of every type as numbers, what is not finite as null, and no folder of parts', async (t) => {
  const at = await folder(t);
  const sink = await atomicFileSink(at('types'));
  const columns = [
    { name: 'half', dtype: 'f16', shape: [1, 2] },
    { name: 'byte', dtype: 'u8', shape: [2, 1] },
    { name: 'small', dtype: 'i8', shape: [1, 2] },
    { name: 'one', dtype: 'f32', shape: [1] },
  ] as const;
  const writer = new TensorWriter(sink, { columns: withScales(columns), metadata: {} });
  const vector = Float32Array.of(127, -64);
  await writer.append('a', -1, {
    half: Uint16Array.of(0x3c00, 0xfc00),
    byte: Uint8Array.of(0, 255),
    small: vector,
    one: Float32Array.of(0.1),
  });
  await writer.end();
  const [line] = (await succeeds(at(''), 'cat', 'types', '--json')).trim().split('\n');
  const { small, ...rest } = JSON.parse(line);
  assert.deepEqual(rest, { key: 'a', label: null, half: [[1, null]], byte: [[0], [255]], one: [0.1] });
  assert.deepEqual(small, [[127, -64]]);
  await succeeds(at(''), 'split', 'a', '--share', '0.5', '-o', 'some.ndjson', '--rest', 'rest.ndjson', '--json');
  const sides = ['some', 'rest'].map((name) =>
    readFileSync(at(`${name}.ndjson`), 'utf8')
      .trim()
      .split('\n'),
  );
  const rows = sides.flat().map((text) => JSON.parse(text));
  assert.deepEqual(
    rows.map(({ feature }) => feature[0]).sort((x, y) => x - y),
    numbers(40),
  );
  const { code, stderr } = await repa(['tail', 'a', '--json', '-o', 'parts/'], { cwd: at('') });
  assert.equal(code, 2, stderr);
});

test('tail writes the last rows, of a file and of a pipe', async (t) => {
  const at = await folder(t);
  await succeeds(at(''), 'tail', '-n', '3', 'a', '-o', 'last');
  assert.deepEqual(await rowsOf(at('last')), {
    k37: { label: 1, values: [37, 37.5] },
    k38: { label: 2, values: [38, 38.5] },
    k39: { label: 0, values: [39, 39.5] },
  });
  const { code, stderr } = await shell('repa head -n 5 a | repa tail -n 99 -o piped', { cwd: at('') });
  assert.equal(code, 0, stderr);
  assert.deepEqual(Object.keys(await rowsOf(at('piped'))), ['k0', 'k1', 'k2', 'k3', 'k4']);
});

test('select takes rows by label, key and list, and columns under new names', async (t) => {
  const at = await folder(t);
  await succeeds(at(''), 'select', 'a', '--label', '1', '--match', '^k1', '--rename', 'feature=x', '-o', 'some');
  assert.deepEqual(Object.keys(await rowsOf(at('some'), 'x')), ['k1', 'k10', 'k13', 'k16', 'k19']);
  writeFileSync(at('chosen'), 'k7\nk3\n');
  await succeeds(at(''), 'select', 'a', '--keys', 'chosen', '-o', 'listed');
  assert.deepEqual(Object.keys(await rowsOf(at('listed'))), ['k3', 'k7']);
  writeFileSync(at('chosen'), 'k7\nnone\n');
  for (const [args, code, message] of [
    [['--keys', 'chosen'], 65, /1 keys are not in a, such as 'none'/],
    [['--column', 'nope'], 65, /no column 'nope'/],
    [['--rename', 'x=y'], 65, /no column 'x'/],
    [['--rename', 'x'], 2, /It takes old=new/],
    [['--match', '('], 2, /It takes a regular expression/],
  ] as const) {
    const outcome = await repa(['select', 'a', ...args, '-o', 'none'], { cwd: at('') });
    assert.equal(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  }
});

test('select keeps the scales of an i8 column with it', async (t) => {
  const at = await folder(t);
  const sink = await atomicFileSink(at('i8'));
  const columns = [
    { name: 'f', dtype: 'i8', shape: [2, 3] },
    { name: 'f.scale', dtype: 'f16', shape: [2] },
    { name: 'g', dtype: 'u8', shape: [1] },
  ] as const;
  const writer = new TensorWriter(sink, { columns, metadata: {} });
  const tensors = { f: Int8Array.of(1, 2, 3, 4, 5, 6), 'f.scale': Uint16Array.of(0x3c00, 0x4000), g: Uint8Array.of(9) };
  await writer.append('k', -1, tensors);
  await writer.end();
  await succeeds(at(''), 'select', 'i8', '--column', 'f', '--rename', 'f=h', '-o', 'out');
  assert.deepEqual((await rowsOf(at('out'), 'h')).k.values, [1, 2, 3, 4, 5, 6]);
  assert.deepEqual((await rowsOf(at('out'), 'h.scale')).k.values, [0x3c00, 0x4000]);
});

test('shuf gives every row once, in an order that the seed decides, the same for sets of one size', async (t) => {
  const at = await folder(t);
  await makeStream(at('b'), numbers(40), 'other');
  for (const [input, seed, out] of [
    ['a', '1', 's1'],
    ['b', '1', 's2'],
    ['a', '2', 's3'],
  ]) {
    await succeeds(at(''), 'shuf', input, '--seed', seed, '-o', out);
  }
  const [first, other, second] = [await rowsOf(at('s1')), await rowsOf(at('s2'), 'other'), await rowsOf(at('s3'))];
  assert.deepEqual(Object.keys(first), Object.keys(other));
  assert.notDeepEqual(Object.keys(first), Object.keys(second));
  assert.deepEqual(Object.entries(first).sort(), Object.entries(await rowsOf(at('a'))).sort());
  await succeeds(at(''), 'shuf', 'a', '--seed', '1', '-n', '7', '-o', 'few');
  assert.deepEqual(Object.keys(await rowsOf(at('few'))), Object.keys(first).slice(0, 7));
});

test('split parts rows by key, whatever their order and whatever else is there', async (t) => {
  const at = await folder(t);
  const all = numbers(400);
  await makeStream(at('all'), all);
  await makeStream(at('backwards'), [...all].reverse().slice(100));
  await succeeds(at(''), 'split', 'all', '--share', '0.2', '-o', 'val', '--rest', 'train');
  await succeeds(at(''), 'split', 'backwards', '--share', '0.2', '-o', 'val2', '--rest', 'train2');
  const [val, train, val2] = [await rowsOf(at('val')), await rowsOf(at('train')), await rowsOf(at('val2'))];
  assert.deepEqual({ ...val, ...train }, await rowsOf(at('all')));
  const share = Object.keys(val).length / 400;
  assert.ok(share > 0.12 && share < 0.28, String(share)); // four deviations of a binomial of 400
  assert.deepEqual(
    Object.keys(val2).sort(),
    Object.keys(val)
      .filter((key) => Number(key.slice(1)) < 300)
      .sort(),
  );
});

test('join puts columns side by side by key, and tells what lacks its other half', async (t) => {
  const at = await folder(t);
  await makeStream(at('b'), [...numbers(40)].reverse(), 'other');
  await succeeds(at(''), 'join', 'a', 'b', '-o', 'both');
  assert.deepEqual(await rowsOf(at('both'), 'feature'), await rowsOf(at('a')));
  assert.deepEqual((await rowsOf(at('both'), 'other')).k7, { label: 1, values: [7, 7.5] });
  await makeStream(at('few'), [1, 2, 99], 'other');
  for (const [args, message] of [
    [['a', 'few'], /few: has no row 'k0'/],
    [['few', 'a'], /a: has no row 'k99'/],
    [['a', 'a'], /both have a column 'feature'/],
  ] as const) {
    const { code, stderr } = await repa(['join', ...args, '-o', 'none'], { cwd: at('') });
    assert.equal(code, 65);
    assert.match(stderr, message);
  }
  await succeeds(at(''), 'join', 'a', 'few', '--inner', '-o', 'inner');
  assert.deepEqual(Object.keys(await rowsOf(at('inner'), 'other')), ['k1', 'k2']);
});

test('diff tells rows, labels, metadata and values apart, and is silent about equals', async (t) => {
  const at = await folder(t);
  assert.equal(await succeeds(at(''), 'diff', 'a', 'a'), '');
  const sink = await atomicFileSink(at('c'));
  const metadata = { 'repa.kind': 'feature' };
  const writer = new TensorWriter(sink, { columns: [{ name: 'feature', dtype: 'f32', shape: [2] }], metadata });
  for (const i of numbers(41).slice(1)) {
    await writer.append(`k${i}`, i === 3 ? 2 : i % 3, { feature: Float32Array.of(i, i === 5 ? 6 : i + 0.5) });
  }
  await writer.end();
  const { code, stdout } = await repa(['diff', 'a', 'c', '--json'], { cwd: at('') });
  assert.equal(code, 1);
  const lines = stdout
    .toString()
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(lines.slice(0, 3), [
    { what: 'rows', only_in: 'a', not_in: 'c', count: 1, first: 'k0' },
    { what: 'rows', only_in: 'c', not_in: 'a', count: 1, first: 'k40' },
    { what: 'labels', count: 1, first: 'k3', a: 0, b: 2 },
  ]);
  const { what, name, values, different, largest, rms } = lines[3];
  assert.deepEqual([what, name, values, different, largest], ['values', 'feature', 78, 1, 0.5]);
  assert.ok(Math.abs(rms - 0.5 / Math.sqrt(78)) < 1e-12);
  const words = await repa(['diff', 'a', 'c', '--tolerance', '0.5'], { cwd: at('') });
  assert.match(words.stdout.toString(), /^labels: count 1, first k3, a 0, b 2$/m);
  assert.doesNotMatch(words.stdout.toString(), /values/);
  assert.equal((await repa(['diff', 'a', 'nowhere'], { cwd: at('') })).code, 66);
  writeNpy(at('x.npy'), { shape: [2, 2], dtype: 'f32', data: Float32Array.of(0, 1, 2, 3) });
  writeNpy(at('y.npy'), { shape: [2, 2], dtype: 'f32', data: Float32Array.of(0, 1, 2, 5) });
  assert.equal(await succeeds(at(''), 'diff', 'x.npy', 'x.npy'), '');
  const arrays = await repa(['diff', 'x.npy', 'y.npy'], { cwd: at('') });
  assert.match(arrays.stdout.toString(), /^values array: .*different 1, largest 2, rms 1/);
});
