import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { PlacedBatch } from '../../../src/lib/diffusion/draws.js';
import { DataError } from '../../../src/lib/errors.js';
import type { CompiledLoss } from '../../../src/lib/training/compiled-loss.js';
import { DrawnBatches } from '../../../src/lib/training/data/drawn.js';
import { Stopwatch } from '../../../src/lib/training/stopwatch.js';

/** Batches that tell their number, and a loss that tells what it was asked for. */
function sources(fails = Number.POSITIVE_INFINITY) {
  const asked: string[] = [];
  let count = 0;
  const source = {
    async next(): Promise<PlacedBatch> {
      const step = count++;
      asked.push(`read ${step}`);
      if (step === fails) throw new DataError(`row of step ${step} is broken`);
      return { step } as PlacedBatch;
    },
  };
  const loss = (name: string): CompiledLoss => ({
    prepare({ step }) {
      asked.push(`draw ${step} for ${name}`);
      return [Int32Array.of(step)];
    },
    stage: ([array]) => void asked.push(`stage ${array[0]} for ${name}`),
    run: async () => ({}),
    dispose() {},
  });
  return { asked, source, loss };
}

const first = async (values: Promise<readonly ArrayLike<unknown>[]>) => (await values)[0][0];

describe('batches that are drawn', () => {
  test('ahead are those that are drawn when they are asked for, and no more of them', async () => {
    for (const ahead of [undefined, new Stopwatch()]) {
      const { asked, source, loss } = sources();
      const own = loss('a');
      const batches = new DrawnBatches(source, 3, ahead);
      const watch = new Stopwatch();
      for (let step = 0; step < 3; step++) {
        assert.equal(await first(batches.next(own, watch)), step);
        batches.begin(own);
        await turn();
      }
      const drawn = asked.filter((line) => !line.startsWith('stage'));
      assert.deepEqual(
        drawn,
        [0, 1, 2].flatMap((step) => [`read ${step}`, `draw ${step} for a`]),
      );
      assert.equal(asked.length - drawn.length, ahead ? 2 : 0);
    }
  });

  test('for one loss are drawn again for another', async () => {
    const { asked, source, loss } = sources();
    const [own, other] = [loss('a'), loss('b')];
    const batches = new DrawnBatches(source, 2, new Stopwatch());
    await batches.next(own, new Stopwatch());
    batches.begin(own);
    await turn();
    assert.equal(await first(batches.next(other, new Stopwatch())), 1);
    assert.deepEqual(asked.slice(2), ['read 1', 'draw 1 for a', 'stage 1 for a', 'draw 1 for b']);
  });

  test('that cannot be read are told of by the step that needs them', async () => {
    const { source, loss } = sources(1);
    const own = loss('a');
    const batches = new DrawnBatches(source, 3, new Stopwatch());
    await batches.next(own, new Stopwatch());
    batches.begin(own);
    await turn();
    await assert.rejects(batches.next(own, new Stopwatch()), /row of step 1 is broken/);
  });

  test('may be asked for before they are ready', async () => {
    const { asked, source, loss } = sources();
    const own = loss('a');
    const batches = new DrawnBatches(source, 2, new Stopwatch());
    await batches.next(own, new Stopwatch());
    batches.begin(own);
    assert.equal(await first(batches.next(own, new Stopwatch())), 1);
    assert.ok(!asked.some((line) => line.startsWith('stage')));
  });
});
