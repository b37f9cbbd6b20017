/**
 * Training on XLA's devices against the processor's engine: the same steps, and each goes on with the other's
 * checkpoints.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { openSafetensors } from '../../src/lib/formats/safetensors.js';
import { repa } from '../commands/binary.js';
import { type Entry, MODEL, parseLog, prepared, RUN } from '../commands/training-run.js';

/** Of losses and gradient norms, relative; sums are taken in another order. */
const TOLERANCE = 2e-5;
/** Of weights after three steps of 1e-3. */
const WEIGHTS = 1e-4;
/** Their keys' part has gradients of rounding errors alone, whose signs Adam follows. */
const NOISE = /qkv\.bias$/;

const BACKENDS = { onnx: ['--backend', 'onnx'], xla: ['--backend', 'xla', '--precision', 'f32'] } as const;

async function train(cwd: string, backend: keyof typeof BACKENDS, args: readonly string[], devices = 1) {
  const env = { XLA_CPU_DEVICES: String(devices), REPA_BACKEND: '' };
  const run = await repa(['train', ...args, ...BACKENDS[backend]], { cwd, env });
  assert.equal(run.code, 0, run.stderr);
  return run;
}

const logOf = (cwd: string, out: string): Entry[] => parseLog(readFileSync(path.join(cwd, out, 'log.ndjson'), 'utf8'));

function assertLogsAgree(actual: Entry[], expected: Entry[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, entry] of expected.entries()) {
    for (const [name, value] of Object.entries(entry)) {
      if (name === 'at' || name === 'log' || /seconds?$/.test(name)) continue;
      const error = Math.abs(actual[i][name] - value) / Math.max(Math.abs(value), 1e-3);
      assert.ok(error <= TOLERANCE, `step ${entry.step}: ${name} is ${actual[i][name]}, not ${value}`);
    }
  }
}

/** The largest difference between two checkpoints' files. */
function difference(cwd: string, one: string, other: string): number {
  let largest = 0;
  for (const file of ['model.safetensors', 'ema.safetensors']) {
    const [a, b] = [one, other].map((folder) => openSafetensors(path.join(cwd, folder, file)));
    assert.deepEqual(a.names, b.names);
    for (const name of a.names) {
      if (NOISE.test(name)) continue;
      const [x, y] = [a, b].map((each) => each.read(name).data as Float32Array);
      for (let i = 0; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i] - y[i]));
    }
  }
  return largest;
}

const CASES: Record<string, readonly string[]> = {
  'SiT with REPA': [],
  'Muon, two averages, micro-batches, checkpointed blocks': [
    ...['--optimizer', 'muon', '--ema', '0.9,0.5', '--micro-batch', '2', '--checkpoint-blocks', '2'],
  ],
  DiT: ['--model', 'DiT-S/4', ...MODEL],
  'dispersion, contrast and a class token': ['--dispersive', '0.5', '--contrastive', '0.05', '--class-token', '0.03'],
};

describe('a training run on XLA', () => {
  for (const [name, args] of Object.entries(CASES)) {
    test(`${name}: its losses and weights are those of ONNX Runtime, on one device and on two`, async (t) => {
      const cwd = await prepared(t);
      await train(cwd, 'onnx', [...RUN, ...args, '--steps', '3', '--out', 'onnx']);
      await train(cwd, 'xla', [...RUN, ...args, '--steps', '3', '--out', 'one']);
      await train(cwd, 'xla', [...RUN, ...args, '--steps', '3', '--out', 'two'], 2);
      const expected = logOf(cwd, 'onnx');
      assertLogsAgree(logOf(cwd, 'one'), expected);
      // A loss between the images of a batch is taken over those of a device.
      if (!args.includes('--dispersive')) assertLogsAgree(logOf(cwd, 'two'), expected);
      const worst = difference(cwd, 'one/step-0000003', 'onnx/step-0000003');
      t.diagnostic(`largest difference of a weight: ${worst.toExponential(1)}`);
      assert.ok(worst <= WEIGHTS, `weights differ by ${worst}`);
    });
  }

  test('goes on where ONNX Runtime stopped, and the other way round', async (t) => {
    const cwd = await prepared(t);
    await train(cwd, 'onnx', [...RUN, '--steps', '4', '--out', 'whole']);
    for (const [out, first, second] of [
      ['there', 'onnx', 'xla'],
      ['back', 'xla', 'onnx'],
    ] as const) {
      await train(cwd, first, [...RUN, '--steps', '2', '--out', out]);
      await train(cwd, second, [...RUN, '--steps', '4', '--out', out]);
      assertLogsAgree(logOf(cwd, out), logOf(cwd, 'whole'));
    }
  });

  test('in bfloat16 stays near the run in float32, and its record says what it ran on', async (t) => {
    const cwd = await prepared(t);
    await train(cwd, 'onnx', [...RUN, '--steps', '3', '--out', 'f32']);
    await train(
      cwd,
      'xla',
      [...RUN, '--precision', 'bf16', '--steps', '3', '--out', 'bf16'].filter((_) => true),
    );
    const [whole, half] = ['f32', 'bf16'].map((out) => logOf(cwd, out));
    for (const [i, { loss }] of whole.entries()) assert.ok(Math.abs(half[i].loss - loss) / loss < 2e-2);
  });

  test('refuses a batch that its devices cannot share, and more devices than there are', async (t) => {
    const cwd = await prepared(t);
    const args = ['train', ...RUN, ...BACKENDS.xla, '--steps', '1'];
    const odd = await repa([...args, '--batch-size', '3'], { cwd, env: { XLA_CPU_DEVICES: '2' } });
    assert.equal(odd.code, 2);
    assert.match(odd.stderr, /3 images at a time cannot be divided among 2 devices/);
    const many = await repa([...args, '--devices', '3'], { cwd, env: { XLA_CPU_DEVICES: '2' } });
    assert.equal(many.code, 2);
    assert.match(many.stderr, /--devices 3.*has 2/);
  });

  test('stops before the weights are touched when a gradient is not finite', async (t) => {
    const cwd = await prepared(t);
    // A weight with which the loss is finite, and the squares of its gradients are not.
    const args = [...RUN, '--lambda', '1e30', '--steps', '2', '--loss-limit', '1e38', '--out', 'broken'];
    const { code, stderr } = await repa(['train', ...args, ...BACKENDS.xla], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, /a gradient of step 1 is not finite/);
  });
});
