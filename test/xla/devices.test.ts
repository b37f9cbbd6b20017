/** What several devices share, and what is sent to them ahead of a run. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { capture, selectBackend, tf } from '../../src/lib/engine/index.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { floatColumn } from '../../src/lib/stream/rows.js';
import { repa } from '../commands/binary.js';
import { prepared, RUN } from '../commands/training-run.js';
import { testPlugin } from './support.js';

/** Of values of about 1: other numbers of rows are summed in another order. */
const TOLERANCE = 1e-6;

describe('what a run reads', () => {
  test('may be sent ahead of it, and is not mistaken for what another run reads', async () => {
    await selectBackend({ backend: 'xla', plugin: testPlugin() });
    const program = capture((x) => [tf.mul(x, 2)], [{ shape: [4, 2], dtype: 'float32' }]);
    const [a, b] = [1, 10].map((start) => Float32Array.from({ length: 8 }, (_, i) => start + i));
    const doubled = (array: Float32Array) => array.map((value) => 2 * value);
    program.stage(a);
    assert.deepEqual((await program.runAsync(a))[0], doubled(a));
    program.stage(a);
    assert.deepEqual((await program.runAsync(b))[0], doubled(b));
    assert.deepEqual(program.run(a)[0], doubled(a)); // still the one that was sent
    program.stage(b);
    program.stage(a);
    assert.deepEqual(program.run(b)[0], doubled(b));
    program.dispose();
  });

  test('is divided by rows, whether the devices divide their number or not', async () => {
    await selectBackend({ backend: 'xla', plugin: testPlugin() });
    for (const rows of [1, 3, 4]) {
      const specs = [
        { shape: [rows, 2], dtype: 'float32' },
        { shape: [rows], dtype: 'int32' },
      ] as const;
      const program = capture((x, y) => [tf.sum(x, 1), tf.add(tf.cast(y, 'float32'), tf.sum(x, 1))], specs, {
        byRow: true,
      });
      const x = Float32Array.from({ length: 2 * rows }, (_, i) => i);
      const y = Int32Array.from({ length: rows }, (_, i) => 100 * i);
      const sums = Float32Array.from({ length: rows }, (_, i) => 4 * i + 1);
      const expected = [sums, sums.map((sum, i) => sum + y[i])];
      assert.deepEqual(
        program.run(x, y).map((array) => Float32Array.from(array as Float32Array)),
        expected,
      );
      assert.deepEqual(
        (await program.runAsync(x, y)).map((array) => Float32Array.from(array as Float32Array)),
        expected,
      );
      program.dispose();
    }
  });
});

test('two devices sample and encode what one does', async (t) => {
  const cwd = await prepared(t);
  const run = async (args: readonly string[], devices: number, backend = 'xla') => {
    const env = { XLA_CPU_DEVICES: String(devices), REPA_BACKEND: '' };
    const precision = backend === 'xla' ? ['--precision', 'f32'] : [];
    const { code, stderr } = await repa([...args, '--backend', backend, ...precision], { cwd, env });
    assert.equal(code, 0, stderr);
  };
  await run(['train', ...RUN, '--steps', '2'], 1, 'onnx');
  const values = async (file: string) => {
    const found: number[] = [];
    for await (const batch of await openTensorStream(path.join(cwd, file))) {
      for (const column of Object.keys(batch.tensors)) found.push(...floatColumn(batch, column));
    }
    assert.ok(found.length > 0);
    return found;
  };
  const sample = [
    'sample',
    '--num',
    '3',
    '--batch-size',
    '3',
    '--steps',
    '4',
    '--cfg',
    '1.5',
    '--latents',
    '--dtype',
    'f32',
    '-o',
  ];
  const hidden = ['extract-hidden', '--batch-size', '3', '--blocks', '1', '--dtype', 'f32', '-o'];
  for (const [name, args] of Object.entries({ sample, hidden })) {
    for (const [out, devices] of [
      ['one', 1],
      ['two', 2],
    ] as const)
      await run([...args, `${name}-${out}`], devices);
    const [one, two] = await Promise.all(['one', 'two'].map((out) => values(`${name}-${out}`)));
    const largest = one.reduce((most, value, i) => Math.max(most, Math.abs(value - two[i])), 0);
    t.diagnostic(`${name}: ${largest.toExponential(1)}`);
    assert.ok(largest <= TOLERANCE, `${name}: two devices differ by ${largest}`);
  }
});
