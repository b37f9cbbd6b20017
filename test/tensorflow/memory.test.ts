/** Nothing is left behind on TensorFlow, where no garbage collector frees tensors. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { selectBackend, tf } from '../../src/lib/engine/index.js';
import { guidedSamples } from './sampling-work.js';
import { OBJECTIVES, trainer } from './training-work.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

before(() => selectBackend({ backend: 'tensorflow' }));

const STEPS = 100;
/** Until then pools find their sizes. */
const WARM_UP = 40;
/** What pools still vary by; a kilobyte left by each operation would be some 100 MiB. */
const SLACK = 24 * 2 ** 20;

/** Runs `step` a hundred times: after the first few, memory stays as it is. */
async function assertFlat(step: (number: number) => unknown): Promise<void> {
  const memory = () => {
    collectGarbage();
    const { numTensors, numBytes } = tf.memory();
    return { tensors: { numTensors, numBytes }, resident: process.memoryUsage.rss() };
  };
  for (let number = 0; number < WARM_UP; number++) await step(number);
  const start = memory();
  assert.ok(start.tensors.numTensors > 0);
  for (let number = WARM_UP; number < STEPS; number++) await step(number);
  const end = memory();
  assert.deepEqual(end.tensors, start.tensors);
  const growth = end.resident - start.resident;
  assert.ok(growth <= SLACK, `${growth} bytes more are resident`);
}

for (const [name, objective] of Object.entries(OBJECTIVES)) {
  test(`${STEPS} training steps: ${name}`, async () => {
    const { differentiate, follow, dispose } = trainer(objective);
    await assertFlat((step) => {
      differentiate(step);
      follow(step);
    });
    dispose();
  });
}

for (const mode of ['ode', 'sde'] as const) {
  test(`${STEPS} runs of guided sampling: ${mode}`, async () => {
    const kept = tf.keep(tf.zeros([1]));
    await assertFlat(() => guidedSamples({ mode, steps: 2 }));
    kept.dispose();
  });
}
