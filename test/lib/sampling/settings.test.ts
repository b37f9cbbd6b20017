import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/lib/errors.js';
import { checkHints } from '../../../src/lib/sampling/load.js';
import type { DiffusionModel } from '../../../src/lib/sampling/model.js';
import type { SamplerOptions } from '../../../src/lib/sampling/options.js';
import { describeSampler, settleSampler } from '../../../src/lib/sampling/settings.js';
import { fixtureWeightsFile } from '../../fixture-weights.js';
import { temporaryFolder } from '../../support.js';

/** As much of a model as its sampler asks for. */
const model = (training: object, config: object = { inChannels: 4, outChannels: 4 }): DiffusionModel =>
  ({
    source: 'ckpt',
    record: {
      ...{ architecture: 'SiT', model: { nullClass: true, ...config }, methods: {}, data: { labelled: null } },
      training: { path: 'linear', timeShift: 1, labelDropout: 0.1, ...training },
    },
  }) as unknown as DiffusionModel;

const GIVEN: SamplerOptions = { cfg: 2, seed: 0 };

const refuses = (work: () => unknown, message: RegExp): void =>
  assert.throws(work, (error) => error instanceof UsageError && message.test(error.message));

test('guidance by a model that knows no images without label is refused, unless another one guides', () => {
  const untrained = model({ labelDropout: 0 });
  refuses(() => settleSampler(untrained, GIVEN), /ckpt was trained with --label-dropout 0/);
  settleSampler(untrained, { ...GIVEN, cfg: 1 });
  settleSampler(untrained, { ...GIVEN, guideCkpt: 'other' });
  settleSampler(model({}), GIVEN);
});

test('an interval is recorded where it guides', () => {
  const interval = (options: Partial<SamplerOptions>) =>
    describeSampler(settleSampler(model({}), { ...GIVEN, ...options })).interval;
  assert.deepEqual(interval({}), [0, 1]);
  assert.deepEqual(interval({ guidanceLow: 0.2, guidanceHigh: 0.7 }), [0.2, 0.7]);
  assert.deepEqual(interval({ guidanceLow: 0.2, guidanceHigh: 0.7, cfg: 1 }), [0, 1]);
  refuses(() => interval({ guidanceLow: 0.8, guidanceHigh: 0.2 }), /nothing would be guided/);
});

test('three channels are guided of a network that predicts a variance, unless something else is said', () => {
  const channels = (given: number | undefined, config: object) =>
    describeSampler(settleSampler(model({}, config), { ...GIVEN, guidanceChannels: given })).guidance_channels;
  assert.equal(channels(undefined, { inChannels: 4, outChannels: 4 }), 'all');
  assert.equal(channels(undefined, { inChannels: 4, outChannels: 8 }), 3);
  assert.equal(channels(2, { inChannels: 4, outChannels: 8 }), 2);
});

test('what a training folder tells itself is not taken from the command line', () => {
  const [folder, file] = [temporaryFolder(), fixtureWeightsFile('sit')];
  refuses(
    () => checkHints(folder, { heads: 4, path: 'cosine' }),
    /--heads, --path: of a checkpoint file, but .* is a folder/,
  );
  checkHints(folder, {});
  checkHints(file, { heads: 4 });
  checkHints(folder, { heads: 4 }, file); // of the one that guides
});
