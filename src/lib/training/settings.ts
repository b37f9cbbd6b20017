/** What a training run is: everything that decides its numbers, kept in each checkpoint's config.json. */
import { isDeepStrictEqual } from 'node:util';
import type { AlignmentSettings } from '../align/settings.js';
import type { TrainingPath } from '../diffusion/interpolant.js';
import type { TimeDistribution } from '../diffusion/time.js';
import { UsageError } from '../errors.js';
import type { DiTConfig } from '../models/dit.js';
import type { SiTConfig } from '../models/sit.js';
import type { LearningRate } from './learning-rate.js';
import type { RouteSettings } from './route-options.js';

/** The defaults of the official code are the defaults of `repa train`. */
export interface TrainingSettings extends AlignmentSettings, LearningRate {
  /** The global batch: rows of one optimiser step. */
  batchSize: number;
  /** Rows of one forward and backward pass; a step accumulates batchSize / microBatch of them. */
  microBatch: number;
  seed: number;
  /** Muon steps the matrices of blocks and projectors, AdamW the rest. */
  optimizer: 'adamw' | 'muon';
  beta2: number;
  weightDecay: number;
  /** Gradients with a larger norm are scaled down to it. */
  clip: number;
  /** One moving average of the weights each; the first is what is sampled from. */
  emaDecays: readonly number[];
  /** Chance that a label is replaced by the null class. */
  labelDropout: number;
  path: TrainingPath;
  time: TimeDistribution;
  /** By how much times are moved towards the noise; 1 for not at all. */
  timeShift: number;
  route: RouteSettings | null;
  /** Chance that an image's middle blocks are left out, of a model with fusion. */
  pathDrop: number;
}

/** What is the same in every run. */
export const ADAM = { beta1: 0.9, epsilon: 1e-8 } as const;

/** Where the data came from, by content as far as the streams' headers tell. */
export interface DataRecord {
  rows: number;
  metadata: Readonly<Record<string, string>>;
}

/** The network: what its output means, and its sizes. */
export type ModelRecord = { architecture: 'SiT'; model: SiTConfig } | { architecture: 'DiT'; model: DiTConfig };

/** config.json of a checkpoint. */
export type RunRecord = ModelRecord & {
  [key: string]: unknown;
  step: number;
  /** Version of repa. */
  version: string;
  training: TrainingSettings;
  latent: { shape: readonly number[]; scale: readonly number[]; shift: readonly number[] };
  data: { latents: DataRecord; features: DataRecord[] };
};

/** Names of the settings in which two runs differ, as `model.depth (12, now 8)`. */
export function differences(saved: RunRecord, wanted: RunRecord): string[] {
  const settings = ({ architecture, model, training }: RunRecord): Map<string, unknown> =>
    new Map([
      ['model.architecture', architecture],
      ...Object.entries(model).map(([key, value]) => [`model.${key}`, value] as const),
      ...Object.entries(training).map(([key, value]) => [`training.${key}`, value] as const),
    ]);
  const [before, after] = [settings(saved), settings(wanted)];
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)))
    .map((key) => `${key} (${JSON.stringify(before.get(key))}, now ${JSON.stringify(after.get(key))})`);
}

/**
 * Refuses to continue a run under other settings unless that was asked for; a model of another shape never fits.
 * @throws UsageError naming what differs
 */
export function checkContinuation(saved: RunRecord, wanted: RunRecord, folder: string, explicit: boolean): void {
  const changed = differences(saved, wanted);
  const blocking = explicit ? changed.filter((name) => name.startsWith('model.')) : changed;
  if (blocking.length === 0) return;
  throw new UsageError(
    `${folder} holds a run with other settings: ${blocking.join(', ')}`,
    explicit
      ? 'A checkpoint continues only with the same model. Choose another --out for a new run.'
      : 'Choose another --out for a new run, or add --resume to continue this one with the new settings.',
  );
}
