/** What training minimises, compiled together with its gradients. */
import type { Losses } from '../align/terms.js';
import { ditTrainingLoss, type LossInputs, sitTrainingLoss } from '../align/training-loss.js';
import { capture, tf } from '../engine/index.js';
import { tokenCount } from '../models/diffusion-transformer.js';
import { keptTokens } from '../models/token-route.js';
import { PURPOSE } from '../numbers/random.js';
import type { TypedArray } from '../numbers/typed-array.js';
import { captureGradients, type ParameterStore } from '../optim/index.js';
import type { BatchInput, PlacedBatch } from './batch-inputs.js';
import * as inputs from './batch-inputs.js';
import type { TrainingSet } from './dataset.js';
import type { RunRecord } from './settings.js';

/** A loss as a function of the tensors of a batch, by name. */
interface Objective {
  inputs: Readonly<Record<string, BatchInput>>;
  loss(tensors: Readonly<Record<string, tf.Tensor>>): Losses;
}

export interface ObjectiveOptions {
  microBatch: number;
  ranks: number;
  /** How many blocks are computed again in the backward pass: less memory, more time. */
  checkpointBlocks: number;
  /** Whether features are followed. */
  aligned: boolean;
}

/** The weights that a loss reads: learned ones, and the moving average that teaches them. */
type LossWeights = Pick<ParameterStore, 'tensors' | 'emaTensors'>;

/** The objective of a run. */
function objectiveOf(
  store: LossWeights,
  record: RunRecord,
  set: TrainingSet,
  { aligned, checkpointBlocks }: Pick<ObjectiveOptions, 'aligned' | 'checkpointBlocks'>,
): Objective {
  const { training } = record;
  const shared = {
    x: inputs.latents(set.inputShape),
    noise: inputs.normals(set.inputShape, PURPOSE.noise),
    y: inputs.labels(training.labelDropout, record.model.numClasses),
  };
  const followed = aligned
    ? set.features.map((source, i) => [`features${i}`, inputs.features(source, i)] as const)
    : [];
  const features = Object.fromEntries(followed);
  const variant = variantInputs(record);
  const shaped = (tensors: Readonly<Record<string, tf.Tensor>>) => ({
    ...variantTensors(record, tensors),
    targets: followed.map(([name]) => tensors[name]),
    checkpointBlocks,
  });
  if (record.architecture === 'DiT') {
    return {
      inputs: { ...shared, t: inputs.timesteps, ...variant, ...features },
      loss: ({ x, noise, t, y, ...others }) =>
        ditTrainingLoss(store.tensors, record.model, { x, noise, t, y, ...shaped(others) }, training),
    };
  }
  const { selfAlignment } = training;
  const t = inputs.times(training.time, training.path, training.timeShift);
  const earlier = selfAlignment && { teacherT: inputs.earlierTimes(t, selfAlignment.maxTimeShift) };
  // Made before the loss is traced: made within, they would be constants of it.
  const average = selfAlignment && store.emaTensors;
  return {
    inputs: { ...shared, t, ...earlier, ...variant, ...features },
    loss: ({ x, noise, t, y, teacherT, ...others }) => {
      const teacher = average ? { parameters: average, t: teacherT } : undefined;
      return sitTrainingLoss(store.tensors, record.model, { x, noise, t, y, teacher, ...shaped(others) }, training);
    },
  };
}

/** What variants of the network read besides: the class token, and which tokens and images skip blocks. */
function variantInputs({ model, training }: RunRecord): Record<string, BatchInput> {
  const { classTokenDim } = model;
  const tokens = tokenCount(model);
  return {
    ...(classTokenDim && {
      classToken: inputs.classTokens(classTokenDim),
      classNoise: inputs.normals([classTokenDim], PURPOSE.classNoise),
    }),
    ...(training.route && { tokenOrder: inputs.tokenOrder(tokens) }),
    ...(training.pathDrop > 0 && { pathKept: inputs.pathKept(training.pathDrop) }),
  };
}

/** The same as tensors, as a loss takes them. */
function variantTensors(
  { model, training: { route } }: RunRecord,
  { classToken, classNoise, tokenOrder, pathKept }: Readonly<Record<string, tf.Tensor>>,
): Pick<LossInputs, 'classToken' | 'route' | 'pathKept'> {
  const [order, places] = tokenOrder ? tf.unstack(tokenOrder, 1) : []; // [B, T] each
  return {
    classToken: classToken && { x: classToken, noise: classNoise },
    route: route
      ? { blocks: route.blocks, order, places, kept: keptTokens(tokenCount(model), route.share) }
      : undefined,
    pathKept,
  };
}

export interface CompiledObjective {
  /** Draws what the loss reads. */
  prepare(batch: PlacedBatch): TypedArray[];
  /** The losses of one batch by name, `total` first; in training, leaves its gradients in the store. */
  run(prepared: readonly TypedArray[]): Record<string, number>;
  dispose(): void;
}

/** A loss as a function of host arrays. */
function traced({ inputs, loss }: Objective, rows: number) {
  const entries = Object.entries(inputs);
  let terms: string[] = [];
  return {
    specs: entries.map(([, { shape, dtype }]) => ({ shape: [rows, ...shape], dtype })),
    prepare: (batch: PlacedBatch): TypedArray[] => entries.map(([, input]) => input.values(batch)),
    losses(tensors: readonly tf.Tensor[]): tf.Tensor[] {
      const losses = loss(Object.fromEntries(entries.map(([name], i) => [name, tensors[i]])));
      terms = Object.keys(losses);
      return Object.values(losses);
    },
    named: (values: readonly TypedArray[]): Record<string, number> =>
      Object.fromEntries(terms.map((term, i) => [term, Number(values[i][0])])),
  };
}

/**
 * Compiles a run's objective for one size of micro-batch. Losses and gradients are divided by the number of ranks: their
 * sums over the ranks are the means over the global batch.
 */
export function compileObjective(
  store: ParameterStore,
  record: RunRecord,
  set: TrainingSet,
  options: ObjectiveOptions,
): CompiledObjective {
  const { microBatch, ranks } = options;
  const { specs, prepare, losses, named } = traced(objectiveOf(store, record, set, options), microBatch);
  const program = captureGradients(store, (...tensors) => losses(tensors).map((loss) => tf.div(loss, ranks)), specs);
  return { prepare, run: (prepared) => named(program.run(...prepared)), dispose: () => program.dispose() };
}

/** Compiles the losses of the moving average, for validation: no gradients, and nothing is left out. */
export function compileValidation(
  store: ParameterStore,
  record: RunRecord,
  set: TrainingSet,
  { rows, aligned }: { rows: number; aligned: boolean },
): CompiledObjective {
  const weights = { tensors: store.emaTensors, emaTensors: store.emaTensors };
  const sure = { ...record, training: { ...record.training, labelDropout: 0, route: null, pathDrop: 0 } };
  const objective = objectiveOf(weights, sure, set, { aligned, checkpointBlocks: 0 });
  const { specs, prepare, losses, named } = traced(objective, rows);
  const program = capture((...tensors) => losses(tensors), specs);
  return { prepare, run: (prepared) => named(program.run(...prepared)), dispose: () => program.dispose() };
}
