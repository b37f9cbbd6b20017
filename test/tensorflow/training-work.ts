/** Training steps of small models, to be run on both backends, or many times over. The backend is selected before. */
import { type AlignmentSettings, REPA } from '../../src/lib/align/settings.js';
import type { Losses } from '../../src/lib/align/terms.js';
import { ditTrainingLoss, type LossInputs, sitTrainingLoss } from '../../src/lib/align/training-loss.js';
import type { TensorSpec } from '../../src/lib/engine/index.js';
import type { AlignedConfig } from '../../src/lib/models/alignment.js';
import { ditConfig } from '../../src/lib/models/dit.js';
import { type SiTConfig, sitConfig } from '../../src/lib/models/sit.js';
import { FROZEN, sitParameters } from '../../src/lib/models/sit-parameters.js';
import { captureGradients, ParameterStore } from '../../src/lib/optim/index.js';
import { normals, randomWeights } from './random-weights.js';

const BATCH = 4;
const SMALL = {
  ...{ inputSize: 16, depth: 3, hiddenSize: 64, numHeads: 2, numClasses: 5 },
  ...{ alignDepth: 2, zDims: [24, 8], projectorDim: 96 },
};

export interface Objective {
  config: AlignedConfig;
  /** Of SiT `t` is a time, of DiT the number of a step. */
  family: 'SiT' | 'DiT';
  optimizer: 'adamw' | 'muon';
  lossOf(store: ParameterStore): (inputs: LossInputs) => Losses;
}

function sitObjective(
  overrides: Partial<SiTConfig> = {},
  terms: Partial<AlignmentSettings> = {},
  checkpointBlocks = 0,
): Objective {
  const config = sitConfig('SiT-S/2', { ...SMALL, ...overrides });
  const settings = { ...REPA, ...terms, path: 'linear' } as const;
  const lossOf: Objective['lossOf'] = (store) => {
    const average = settings.selfAlignment ? store.emaTensors : null; // made while tracing it would be a constant
    return (inputs) => {
      const teacher = average ? { parameters: average, t: inputs.t } : undefined;
      return sitTrainingLoss(store.tensors, config, { ...inputs, teacher, checkpointBlocks }, settings);
    };
  };
  return { config, family: 'SiT', optimizer: 'adamw', lossOf };
}

const EVERY_TERM: Partial<AlignmentSettings> = {
  ...{ projectionLoss: 'nt-xent', spatialNorm: 0.6, manifold: 1, direction: 1, contrastive: 0.05 },
  layerSync: { weight: 1, block: 1, teacher: 3 },
  dispersive: { weight: 1, block: 2 },
  selfAlignment: { weight: 1, block: 1, teacher: 2, maxTimeShift: 0 },
};

const dit = ditConfig('DiT-S/2', { ...SMALL, projector: 'conv' });

export const OBJECTIVES: Readonly<Record<string, Objective>> = {
  REPA: sitObjective(),
  'every term, queries normalised, blocks checkpointed': sitObjective(
    { qkNorm: true, selfAlignment: true },
    EVERY_TERM,
    2,
  ),
  'DiT, projected by a convolution': {
    ...{ config: dit, family: 'DiT', optimizer: 'adamw' },
    lossOf: (store) => (inputs) => ditTrainingLoss(store.tensors, dit, inputs, REPA),
  },
  Muon: { ...sitObjective(), optimizer: 'muon' },
};

export interface Trainer {
  store: ParameterStore;
  /** Leaves the gradients of batch number `step` in the store; returns the losses. */
  differentiate(step: number): number[];
  /** Follows the gradients; returns their norm. */
  follow(step: number): number;
  dispose(): void;
}

export function trainer({ config, family, optimizer, lossOf }: Objective): Trainer {
  const store = new ParameterStore(
    [...randomWeights(sitParameters(config))].map(([name, { shape, data }]) => {
      const learning = FROZEN.has(name) ? 'frozen' : shape.length === 2 ? optimizer : 'adamw';
      return { name, shape, data, learning };
    }),
  );
  const { inChannels, inputSize, patchSize, zDims, numClasses } = config;
  const latents: TensorSpec = { shape: [BATCH, inChannels, inputSize, inputSize], dtype: 'float32' };
  const tokens = (inputSize / patchSize) ** 2;
  const targets = zDims.map((dim): TensorSpec => ({ shape: [BATCH, tokens, dim], dtype: 'float32' }));
  const times: TensorSpec = { shape: [BATCH], dtype: family === 'SiT' ? 'float32' : 'int32' };
  const loss = lossOf(store);
  const program = captureGradients(
    store,
    (x, noise, t, y, ...features) => Object.values(loss({ x, noise, t, y, targets: features })),
    [latents, latents, times, { shape: [BATCH], dtype: 'int32' }, ...targets],
  );
  return {
    store,
    differentiate(step) {
      const random = [latents, latents, ...targets].map(({ shape }, i) => normals(shape, 100 * step + i));
      const [x, noise, ...features] = random;
      const t = Float32Array.from({ length: BATCH }, (_, row) => (row + 0.5) / BATCH);
      const y = Int32Array.from({ length: BATCH }, (_, row) => (row + step) % (numClasses + 1));
      const placed = family === 'SiT' ? t : Int32Array.from(t, (time) => 999 * time);
      return program.run(x, noise, placed, y, ...features).map((value) => Number(value[0]));
    },
    follow: (step) =>
      store.step({
        ...{ step: step + 1, lr: 1e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, clip: 1 },
        emaDecays: [0.99],
      }),
    dispose() {
      program.dispose();
      store.dispose();
    },
  };
}
