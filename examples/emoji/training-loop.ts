/** Training of a small network on the emoji: AdamW along a cosine, with snapshots from which a stopped run goes on. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { TensorFunction, TensorSpec } from '../../src/lib/engine/index.js';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { halfFromFloat } from '../../src/lib/numbers/half.js';
import { PURPOSE, permutation } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import { captureGradients, type ParameterStore, type StoredParameter } from '../../src/lib/optim/index.js';
import { isHeldOut } from './dataset.js';
import type { Picture } from './evaluation.js';
import { restoreSnapshot, saveSnapshot } from './snapshot.js';

export const SEED = 0;
const WARMUP = 100;
const SNAPSHOT_EVERY = 100;

export interface Training {
  store: ParameterStore;
  /** The first of the results is the loss, the others are its parts, named by `parts`. */
  loss: TensorFunction;
  parts: readonly string[];
  inputs: readonly TensorSpec[];
  /** Writes the inputs of a step, which depend on its number alone. */
  fill: (inputs: readonly Float32Array[], step: number) => void;
  steps: number;
  learningRate: number;
  weightDecay: number;
  emaDecay: number;
  /** Where the snapshot is kept. */
  folder: string;
}

/** Trains from the snapshot in the folder, or from the start, to the last step; prints the losses of some steps. */
export function trainNetwork({ store, parts, inputs: specs, fill, steps, ...training }: Training): void {
  mkdirSync(training.folder, { recursive: true });
  const snapshot = path.join(training.folder, 'snapshot.safetensors');
  const gradients = captureGradients(store, training.loss, specs);
  const inputs = specs.map(({ shape }) => new Float32Array(sizeOf(shape)));
  for (let step = restoreSnapshot(snapshot, store); step < steps; step++) {
    fill(inputs, step);
    const losses = gradients.run(...inputs).map(([value]) => Number(Number(value).toPrecision(4)));
    const gradientNorm = store.step({
      step: step + 1,
      lr: training.learningRate * Math.min(1, (step + 1) / WARMUP) * (0.5 + 0.5 * Math.cos((Math.PI * step) / steps)),
      beta1: 0.9,
      beta2: 0.99,
      epsilon: 1e-8,
      weightDecay: training.weightDecay,
      clip: 1,
      emaDecays: [Math.min(training.emaDecay, step / (step + 10))],
    });
    if ((step + 1) % SNAPSHOT_EVERY !== 0 && step + 1 < steps) continue;
    saveSnapshot(snapshot, store, step + 1);
    const named = Object.fromEntries(['loss', ...parts].map((name, i) => [name, losses[i]]));
    console.log(JSON.stringify({ step: step + 1, ...named, gradientNorm }));
  }
}

/** Draws pictures that are not held out: each emoji comes once an epoch, in one of its skin tones. */
export class PictureOrder {
  readonly #groups: readonly Picture[][];
  #epoch = -1;
  #order: Uint32Array = new Uint32Array();

  constructor(pictures: readonly Picture[]) {
    const byCodes = new Map<string, Picture[]>();
    for (const picture of pictures.filter(({ emoji }) => !isHeldOut(emoji))) {
      const group = byCodes.get(picture.emoji.codes) ?? [];
      byCodes.set(picture.emoji.codes, group);
      group.push(picture);
    }
    this.#groups = [...byCodes.values()];
  }

  /** The pictures of the emoji whose turn it is, one skin tone or all: so people do not outnumber the rest. */
  at(index: number): Picture[] {
    const epoch = Math.floor(index / this.#groups.length);
    if (this.#epoch !== epoch) {
      this.#epoch = epoch;
      this.#order = permutation(this.#groups.length, SEED, PURPOSE.shuffle, epoch);
    }
    return this.#groups[this.#order[index % this.#groups.length]];
  }
}

/** A parameter's moving average in f16. */
export const halfTensor = ({ name, shape, averages: [ema] }: StoredParameter): [string, HostTensor] => [
  name,
  { shape: [...shape], dtype: 'f16', data: halfFromFloat(ema) },
];
