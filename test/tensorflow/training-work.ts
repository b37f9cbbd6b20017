/** Training steps of small models, to be run on both backends, or many times over. The backend is selected before. */
import type { TensorSpec } from '../../src/lib/engine/index.js';
import { captureGradients, type ParameterStore } from '../../src/lib/optim/index.js';
import { type Network, networkParameters } from '../../src/lib/repa/network.js';
import { trainingLoss } from '../../src/lib/training/loss.js';
import { modelStore } from '../../src/lib/training/store.js';
import { networkOf, repaOf } from '../networks.js';
import { normals, randomWeights } from './random-weights.js';

const BATCH = 4;
const SMALL = { inputSize: 16, depth: 3, hiddenSize: 64, numHeads: 2, numClasses: 5, alignDepth: 2 };
const DIMS = [24, 8];
const REPA = repaOf(DIMS, 96);

export interface Objective {
  network: Network;
  optimizer: 'adamw' | 'muon';
  checkpointBlocks: number;
}

const EVERY_TERM = {
  ...repaOf(DIMS, 96, { projectionLoss: 'nt-xent' }),
  ...{ irepa: { projector: 'mlp', kernel: 3, spatialNorm: 0.6 }, 'u-repa': { weight: 1 } },
  ...{ direction: { weight: 1 }, 'delta-fm': { weight: 0.05 } },
  'layer-sync': { weight: 1, block: 1, teacher: 3 },
  dispersive: { weight: 1, block: 2 },
  sra: { weight: 1, block: 1, teacher: 2, maxTimeShift: 0 },
};

export const OBJECTIVES: Readonly<Record<string, Objective>> = {
  REPA: { network: networkOf('SiT-S/2', SMALL, REPA), optimizer: 'adamw', checkpointBlocks: 0 },
  'every term, queries normalised, blocks checkpointed': {
    network: networkOf('SiT-S/2', { ...SMALL, qkNorm: true }, EVERY_TERM),
    optimizer: 'adamw',
    checkpointBlocks: 2,
  },
  'DiT, projected by a convolution': {
    network: networkOf('DiT-S/2', SMALL, { ...REPA, irepa: { projector: 'conv', kernel: 3, spatialNorm: null } }),
    optimizer: 'adamw',
    checkpointBlocks: 0,
  },
  Muon: { network: networkOf('SiT-S/2', SMALL, REPA), optimizer: 'muon', checkpointBlocks: 0 },
};

export interface Trainer {
  store: ParameterStore;
  /** Leaves the gradients of batch number `step` in the store; returns the losses. */
  differentiate(step: number): number[];
  /** Follows the gradients; returns their norm. */
  follow(step: number): number;
  dispose(): void;
}

export function trainer({ network, optimizer, checkpointBlocks }: Objective): Trainer {
  const store = modelStore(network, { optimizer, weights: randomWeights(networkParameters(network)) });
  const { inChannels, inputSize, patchSize, numClasses } = network.model;
  const isSiT = network.architecture === 'SiT';
  const latents: TensorSpec = { shape: [BATCH, inChannels, inputSize, inputSize], dtype: 'float32' };
  const tokens = (inputSize / patchSize) ** 2;
  const targets = DIMS.map((dim): TensorSpec => ({ shape: [BATCH, tokens, dim], dtype: 'float32' }));
  const times: TensorSpec = { shape: [BATCH], dtype: isSiT ? 'float32' : 'int32' };
  const average = 'sra' in network.methods ? store.emaTensors : undefined; // made while tracing it would be a constant
  const program = captureGradients(
    store,
    (x, noise, t, y, ...features) => {
      const inputs = { x, noise, t, y, features, draws: { sra: { t } } };
      return Object.values(trainingLoss(store.tensors, network, inputs, { path: 'linear', checkpointBlocks, average }));
    },
    [latents, latents, times, { shape: [BATCH], dtype: 'int32' }, ...targets],
  );
  return {
    store,
    differentiate(step) {
      const random = [latents, latents, ...targets].map(({ shape }, i) => normals(shape, 100 * step + i));
      const [x, noise, ...features] = random;
      const t = Float32Array.from({ length: BATCH }, (_, row) => (row + 0.5) / BATCH);
      const y = Int32Array.from({ length: BATCH }, (_, row) => (row + step) % (numClasses + 1));
      const placed = isSiT ? t : Int32Array.from(t, (time) => 999 * time);
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
