/** What is said of the time of a run, and how well its steps use the machine. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { ALONE } from '../../../src/lib/parallel/group.js';
import type { CompiledLoss } from '../../../src/lib/training/compiled-loss.js';
import { Pace } from '../../../src/lib/training/pace.js';
import { temporaryFolder } from '../../commands/binary.js';

before(() => selectBackend({ backend: 'onnx', threads: 1 }));

const lossOf = (flops: number | undefined): CompiledLoss => ({
  prepare: () => [],
  run: async () => ({}),
  stage() {},
  flops,
  dispose() {},
});

test('a long run is told what it takes before its first step, and how long after some', (t) => {
  const before = process.env.REPA_HOME;
  process.env.REPA_HOME = temporaryFolder(t);
  t.after(() => {
    if (before === undefined) delete process.env.REPA_HOME;
    else process.env.REPA_HOME = before;
  });
  const said: string[] = [];
  const pace = new Pace({ steps: 1004, passes: 2, group: { ...ALONE, size: 3 }, say: (line) => said.push(line) });
  const loss = lossOf(1e12);
  pace.begin(loss);
  const speeds = JSON.parse(readFileSync(path.join(process.env.REPA_HOME, 'product-speed.json'), 'utf8'));
  const [[machine, speed]] = Object.entries(speeds) as [string, number][];
  assert.match(machine, /, onnx, .*, f32, 1 threads$/);
  assert.match(
    said[0],
    /^a step is 6\.00 TFLOP in products, of which this machine does .* a second: 1004 steps take .* or more$/,
  );
  for (const seconds of [100, 2, 3, 4]) {
    const { model_flops_per_second: rate, model_flops_utilization: share } = pace.rates(loss, seconds);
    assert.equal(rate, 6e12 / seconds);
    assert.ok(Math.abs(share! / (rate! / (3 * speed)) - 1) < 1e-6, `${share} of ${speed}`);
  }
  assert.match(said[1], /^about 50:00 for the 1000 steps that are left, at 0\.333 a second; .* of memory so far$/); // of 2, 3 and 4 seconds
  assert.equal(said.length, 2);
});

test('of a short run, and where the backend counts nothing, little is said', () => {
  const said: string[] = [];
  const pace = new Pace({ steps: 10, passes: 1, group: ALONE, say: (line) => said.push(line) });
  pace.begin(lossOf(1e9));
  for (const _ of [1, 2, 3, 4, 5]) assert.deepEqual(pace.rates(lossOf(1e9), 0.5), { model_flops_per_second: 2e9 });
  assert.deepEqual(pace.rates(lossOf(undefined), 0.5), {});
  assert.deepEqual(said, []);
});
