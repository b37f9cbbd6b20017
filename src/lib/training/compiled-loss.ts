/**
 * From host arrays to losses: what a run's loss reads of each batch, and the loss compiled with its gradients or, for
 * validation, without.
 */
import type { Draw, FeatureSource, PlacedBatch } from '../diffusion/draws.js';
import * as draws from '../diffusion/draws.js';
import { type Captured, capture, engineInfo, tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { PURPOSE } from '../numbers/random.js';
import type { TypedArray } from '../numbers/typed-array.js';
import { captureGradients, type ParameterStore } from '../optim/index.js';
import { type ActiveMethod, activeMethods, areFollowing } from '../repa/methods.js';
import { type Network, surroundingsOf } from '../repa/network.js';
import type { LossInputs } from '../repa/pass.js';
import { texts } from './data/captions.js';
import { FACTORS, trainingLoss } from './loss.js';
import type { TrainingSettings } from './record.js';
import { checkTerms, factorDraws } from './term-schedule.js';

/** A run as far as the loss is concerned. */
export interface LossRun {
  network: Network;
  training: Pick<TrainingSettings, 'labelDropout' | 'path' | 'time' | 'timeShift'> &
    Partial<Pick<TrainingSettings, 'termSchedules' | 'timeMean' | 'timeDeviation'>>;
  /** [C, h, w] of the latents alone. */
  latentShape: readonly number[];
  features: readonly FeatureSource[];
  /** The empty caption, [L, D], for a network that draws from text. */
  emptyText?: Float32Array | undefined;
}

export interface CompileOptions {
  /** Rows of one pass. */
  rows: number;
  ranks?: number;
  checkpointBlocks?: number;
  /** The methods at work; by default all that are on. */
  methods?: readonly ActiveMethod[];
}

/** A loss, compiled for one number of rows. */
export interface CompiledLoss {
  /** Draws what the loss reads. */
  prepare(batch: PlacedBatch): TypedArray[];
  /** The losses of one batch by name, `total` first; in training, leaves its gradients in the store. */
  run(prepared: readonly TypedArray[]): Promise<Record<string, number>>;
  /** Begins to send to a device what the next run reads, which must stay as it is until then. */
  stage(prepared: readonly TypedArray[]): void;
  /** FLOPs of one run with its gradients, on all devices of this process; undefined where the backend does not tell. */
  readonly flops?: number | undefined;
  dispose(): void;
}

/** The inputs of a loss by name: the tensors of the batch, and what each method draws. */
function drawsOf(
  { network, training, latentShape, features, emptyText }: LossRun,
  methods: readonly ActiveMethod[],
  isTraining: boolean,
) {
  const { architecture, model } = network;
  const [, ...sides] = latentShape;
  const shape = [model.inChannels, ...sides];
  const t = architecture === 'SiT' ? draws.times(training, training.path, training.timeShift) : draws.timesteps;
  const dropout = isTraining ? training.labelDropout : 0;
  const y = model.text ? texts(dropout, model.text, emptyText!) : draws.labels(dropout, model.numClasses);
  const following = areFollowing(methods) ? features : [];
  const surroundings = surroundingsOf(network);
  const all: Record<string, Draw> = {
    x: draws.latents(shape),
    noise: draws.normals(shape, PURPOSE.noise),
    y,
    t,
    ...Object.fromEntries(following.map((source, i) => [`features.${i}`, draws.features(source, i)])),
  };
  for (const { method, settings } of activeMethods(network.methods)) {
    const own = method.draws?.(settings, { ...surroundings, t, y, training: isTraining }) ?? {};
    for (const [name, draw] of Object.entries(own)) all[`${method.name}.${name}`] = draw;
    if (!method.companion) continue;
    all['companion.clean'] = method.companion.clean(settings);
    all['companion.noise'] = method.companion.noise(settings);
  }
  if (!isTraining) return all;
  for (const [term, draw] of factorDraws(training.termSchedules ?? [])) all[`${FACTORS}.${term}`] = draw;
  return all;
}

/** The tensors of `drawsOf`, sorted into the inputs of a loss. */
function inputsOf(tensors: ReadonlyMap<string, tf.Tensor>): LossInputs {
  const group = (name: string): Record<string, tf.Tensor> =>
    Object.fromEntries(
      [...tensors].flatMap(([key, tensor]) =>
        key.startsWith(`${name}.`) ? [[key.slice(name.length + 1), tensor]] : [],
      ),
    );
  const [x, noise, t, y] = ['x', 'noise', 't', 'y'].map((name) => tensors.get(name)!);
  const names = new Set([...tensors.keys()].flatMap((key) => /^(.*)\./.exec(key)?.[1] ?? []));
  const { clean, noise: companionNoise } = group('companion');
  return {
    ...{ x, noise, t, y },
    features: Object.values(group('features')),
    companion: clean && { clean, noise: companionNoise },
    draws: Object.fromEntries([...names].map((name) => [name, group(name)])),
  };
}

/** The weights that a loss reads: learned ones, and their moving average. */
type LossWeights = Pick<ParameterStore, 'tensors' | 'emaTensors'>;

function hostLoss(weights: LossWeights, run: LossRun, options: CompileOptions, isTraining: boolean) {
  const { rows, checkpointBlocks, methods = activeMethods(run.network.methods) } = options;
  const entries = Object.entries(drawsOf(run, methods, isTraining));
  // Made before the loss is traced: made within, they would be constants of it.
  const average = methods.some(({ method }) => method.teacher) ? weights.emaTensors : undefined;
  const lossOptions = { path: run.training.path, channels: run.latentShape[0], methods, checkpointBlocks, average };
  let names: string[] = [];
  return {
    specs: entries.map(([, { shape, dtype }]) => ({ shape: [rows, ...shape], dtype })),
    losses(tensors: readonly tf.Tensor[]): tf.Tensor[] {
      const inputs = inputsOf(new Map(entries.map(([name], i) => [name, tensors[i]])));
      const losses = trainingLoss(weights.tensors, run.network, inputs, lossOptions);
      names = Object.keys(losses);
      const isWhole = methods.length === activeMethods(run.network.methods).length; // none has come to its end
      if (isTraining && isWhole) checkTerms(run.training.termSchedules ?? [], names.slice(1));
      return Object.values(losses);
    },
    compiled: (program: Captured): CompiledLoss => ({
      prepare: (batch) => entries.map(([, draw]) => draw.values(batch)),
      async run(prepared) {
        const values = await program.runAsync(...prepared);
        return Object.fromEntries(names.map((name, i) => [name, Number(values[i][0])]));
      },
      stage: (prepared) => program.stage(...prepared),
      flops: program.flops,
      dispose: () => program.dispose(),
    }),
  };
}

/**
 * Compiles a run's loss with its gradients, of rows that the devices of this machine share. Both are divided by the
 * number of ranks and of devices: their sums over these are the means over the global batch.
 * @throws UsageError when the devices cannot share the rows evenly
 */
export function compileLoss(store: ParameterStore, run: LossRun, options: CompileOptions): CompiledLoss {
  const { ranks = 1 } = options;
  const devices = engineInfo().devices?.length ?? 1;
  if (options.rows % devices !== 0) {
    const problem = `${options.rows} images at a time cannot be divided among ${devices} devices`;
    throw new UsageError(
      problem,
      'Change --batch-size or --micro-batch to a multiple of them, or take fewer --devices.',
    );
  }
  const { specs, losses, compiled } = hostLoss(store, run, { ...options, rows: options.rows / devices }, true);
  const share = (loss: tf.Tensor): tf.Tensor => tf.div(loss, ranks * devices);
  return compiled(captureGradients(store, (...tensors) => losses(tensors).map(share), specs, { divided: true }));
}

/** Compiles the losses of the moving average, for validation: no gradients, and nothing is left out. */
export function compileValidation(store: ParameterStore, run: LossRun, options: CompileOptions): CompiledLoss {
  const weights = { tensors: store.emaTensors, emaTensors: store.emaTensors };
  const { specs, losses, compiled } = hostLoss(weights, run, options, false);
  return compiled(capture((...tensors) => losses(tensors), specs));
}
