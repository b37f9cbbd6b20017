/**
 * What training minimises: the error of the velocity (SiT, arXiv 2401.08740) or of the noise and its variance (DiT,
 * arXiv 2102.09672), plus the weighted terms of the methods; and the gradients of it.
 */
import { ddpmLoss, diffuse } from '../diffusion/ddpm-loss.js';
import type { Draw, FeatureSource, PlacedBatch } from '../diffusion/draws.js';
import * as draws from '../diffusion/draws.js';
import type { TrainingPath } from '../diffusion/interpolant.js';
import { interpolate } from '../diffusion/interpolate.js';
import { type Captured, capture, engineInfo, tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import type { Parameters } from '../models/parameters.js';
import { PURPOSE } from '../numbers/random.js';
import type { TypedArray } from '../numbers/typed-array.js';
import { captureGradients, type ParameterStore } from '../optim/index.js';
import { meanSquare, type Pass, type Predicted, type Term, term } from '../repa/method.js';
import { type ActiveMethod, activeMethods, areFollowing } from '../repa/methods.js';
import { forward, type MethodDraws, type Network, surroundingsOf } from '../repa/network.js';
import type { TrainingSettings } from './record.js';
import { factorDraws } from './term-schedule.js';

/** The sum to differentiate, and each term by name, unweighted. */
export interface Losses {
  total: tf.Tensor;
  [term: string]: tf.Tensor;
}

/** The sum of weight * factor * value over the terms whose weight is not 0; a term's factor is [B], alike in each image. */
function weightedSum(terms: readonly Term[], factors: Readonly<Record<string, tf.Tensor>>): Losses {
  const computed = terms
    .filter(({ weight }) => weight !== 0)
    .map(({ name, weight, value }) => ({ name, weight, value: value() }));
  const weighted = computed.map(({ name, weight, value }) => {
    const weighed = weight === 1 ? value : tf.mul(value, weight);
    return factors[name] ? tf.mul(weighed, tf.mean(factors[name])) : weighed;
  });
  return { total: tf.addN(weighted), ...Object.fromEntries(computed.map(({ name, value }) => [name, value])) };
}

/** A batch of B images as the loss takes it. */
export interface LossInputs {
  /** Clean latents [B, C, h, w], with the channels that methods add. */
  x: tf.Tensor;
  /** Standard normals [B, C, h, w]. */
  noise: tf.Tensor;
  /** Of SiT: times [B], 0 = data, 1 = noise. Of DiT: steps [B] int32 of 0..999. */
  t: tf.Tensor;
  /** Classes [B] int32, dropped ones already replaced by the null class. */
  y: tf.Tensor;
  /** Features of each encoder, [B, T, D]; empty where none are followed. */
  features?: readonly tf.Tensor[];
  /** What is generated beside the images, and its noise, [B, Z] each. */
  companion?: { clean: tf.Tensor; noise: tf.Tensor };
  /** What methods draw. */
  draws?: MethodDraws;
}

export interface LossOptions {
  path: TrainingPath;
  /** The channels that are the latents' own, the first; all by default. */
  channels?: number;
  /** The methods whose terms count; all that are on by default. */
  methods?: readonly ActiveMethod[];
  /** How many blocks are computed again in the backward pass. */
  checkpointBlocks?: number;
  /** The moving average of the parameters, for methods that it teaches. */
  average?: Parameters;
}

/** Under which name the factors of terms are drawn, as no method is called. */
const FACTORS = 'term-schedule';

/** The loss of a network with parameters `p`, and its terms. */
export function trainingLoss(p: Parameters, network: Network, inputs: LossInputs, options: LossOptions): Losses {
  const { methods = activeMethods(network.methods) } = options;
  const own =
    network.architecture === 'SiT' ? velocityPass(p, network, inputs, options) : noisePass(p, network, inputs, options);
  const passOf = ({ name }: { name: string }): Pass => ({ ...own.pass, draws: inputs.draws?.[name] ?? {} });
  const terms = (kind: 'outputTerms' | 'terms'): Term[] =>
    methods.flatMap(({ method, settings }) => method[kind]?.(settings, passOf(method)) ?? []);
  const all = [...own.terms, ...terms('outputTerms'), ...terms('terms')];
  return weightedSum(all, inputs.draws?.[FACTORS] ?? {});
}

/** What a pass gives terms, before they draw anything, and the terms of the image itself. */
interface OwnPass {
  pass: Omit<Pass, 'draws'>;
  terms: Term[];
}

/** SiT: x_t = alpha x + sigma e moves with v = alpha' x + sigma' e, and L = |v_theta(x_t, t) - v|^2. */
function velocityPass(p: Parameters, network: Network, inputs: LossInputs, options: LossOptions): OwnPass {
  const { x, noise, y, companion, features = [] } = inputs;
  const { path, channels = network.model.inChannels, checkpointBlocks, average } = options;

  /** The network on the images at times `t`. */
  function at(parameters: Parameters, t: tf.Tensor, training: boolean) {
    const { xT, velocity } = interpolate(path, x, noise, t); // [B, C, h, w] each
    const beside = companion && interpolate(path, companion.clean, companion.noise, t); // [B, Z]
    const given = training ? { draws: inputs.draws, checkpointBlocks } : {};
    const output = forward(parameters, network, { x: xT, t, y, companion: beside?.xT }, given);
    const [latents, added] = splitChannels({ predicted: output.output, wanted: velocity }, channels);
    return { output, latents, added, beside };
  }

  const { output, latents, added, beside } = at(p, inputs.t, true);
  const pass: OwnPass['pass'] = {
    ...surroundingsOf(network),
    ...hiddenOf(output),
    p,
    latents,
    channels: added,
    companion: beside && { predicted: output.companion!, wanted: beside.velocity, clean: companion!.clean },
    seen: output.seen,
    features,
    average(t) {
      const other = at(average!, t, false);
      return { ...hiddenOf(other.output), latents: other.latents };
    },
  };
  return { pass, terms: [term('velocity', 1, () => meanSquare(latents.predicted, latents.wanted))] };
}

/** DiT: the mean squared error of the noise, and the variational bound in bits per dimension. */
function noisePass(p: Parameters, network: Network, inputs: LossInputs, options: LossOptions): OwnPass {
  const { x, noise, t, y, draws, features = [] } = inputs;
  const noisy = { x: diffuse(x, noise, t), t: tf.cast(t, 'float32'), y };
  const output = forward(p, network, noisy, { draws, checkpointBlocks: options.checkpointBlocks });
  const { squaredError, bound } = ddpmLoss(output.output, x, noise, t); // [B] each
  const [predicted] = tf.split(output.output, 2, 1); // [B, C, h, w]
  const pass: OwnPass['pass'] = {
    ...surroundingsOf(network),
    ...hiddenOf(output),
    p,
    latents: { predicted, wanted: noise },
    seen: output.seen,
    features,
    average() {
      throw new Error('a DiT has no teacher at other times');
    },
  };
  const terms = [term('noise', 1, () => tf.mean(squaredError)), term('bound', 1, () => tf.mean(bound))];
  return { pass, terms };
}

const hiddenOf = ({ hidden, condition }: { hidden: readonly tf.Tensor[]; condition: tf.Tensor }) => ({
  hidden: (block: number): tf.Tensor => hidden[block - 1], // [B, P + T, D]
  condition,
});

/** The first `own` channels, and those that are added to them, if any. */
function splitChannels({ predicted, wanted }: Predicted, own: number): [Predicted, Predicted?] {
  const all = predicted.shape[1]!;
  if (own === all) return [{ predicted, wanted }];
  const [ofLatents, added] = tf.split(predicted, [own, all - own], 1); // [B, C, h, w], [B, K, h, w]
  const [wantedOfLatents, wantedOfAdded] = tf.split(wanted, [own, all - own], 1);
  return [
    { predicted: ofLatents, wanted: wantedOfLatents },
    { predicted: added, wanted: wantedOfAdded },
  ];
}

// ------------------------------------------------------------------------------------------ from host arrays to losses

/** A run as far as the loss is concerned. */
export interface LossRun {
  network: Network;
  training: Pick<TrainingSettings, 'labelDropout' | 'path' | 'time' | 'timeShift'> &
    Partial<Pick<TrainingSettings, 'termSchedules'>>;
  /** Of the latents alone. */
  latentShape: readonly number[];
  features: readonly FeatureSource[];
}

export interface CompileOptions {
  /** Rows of one pass. */
  rows: number;
  ranks?: number;
  checkpointBlocks?: number;
  /** The methods that are at work; all that are on by default. */
  methods?: readonly ActiveMethod[];
}

/** A loss, compiled for one number of rows. */
export interface CompiledLoss {
  /** Draws what the loss reads. */
  prepare(batch: PlacedBatch): TypedArray[];
  /** The losses of one batch by name, `total` first; in training, leaves its gradients in the store. */
  run(prepared: readonly TypedArray[]): Promise<Record<string, number>>;
  dispose(): void;
}

/** What a loss reads, by name: the tensors of the batch, and what each method draws. */
function drawsOf(
  { network, training, latentShape, features }: LossRun,
  methods: readonly ActiveMethod[],
  isTraining: boolean,
) {
  const { architecture, model } = network;
  const [, ...sides] = latentShape;
  const shape = [model.inChannels, ...sides];
  const t = architecture === 'SiT' ? draws.times(training.time, training.path, training.timeShift) : draws.timesteps;
  const y = draws.labels(isTraining ? training.labelDropout : 0, model.numClasses);
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

/** The tensors of `drawsOf` as a loss takes them. */
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
      if (isTraining) checkSchedules(run, methods, names);
      return Object.values(losses);
    },
    compiled: (program: Captured): CompiledLoss => ({
      prepare: (batch) => entries.map(([, draw]) => draw.values(batch)),
      async run(prepared) {
        const values = await program.runAsync(...prepared);
        return Object.fromEntries(names.map((name, i) => [name, Number(values[i][0])]));
      },
      dispose: () => program.dispose(),
    }),
  };
}

/** @throws UsageError for a schedule of a term that the loss never has; one may have come to its end */
function checkSchedules(
  { network, training }: LossRun,
  methods: readonly ActiveMethod[],
  names: readonly string[],
): void {
  if (methods.length < activeMethods(network.methods).length) return;
  for (const { term } of training.termSchedules ?? []) {
    if (names.includes(term)) continue;
    throw new UsageError(`--term-schedule ${term}: the loss has ${names.slice(1).join(', ')}`);
  }
}

/**
 * Compiles a run's loss with its gradients, of rows that the devices of this machine share. Both are divided by the number
 * of ranks and of devices: their sums over these are the means over the global batch.
 * @throws UsageError when the devices cannot share the rows evenly
 */
export function compileLoss(store: ParameterStore, run: LossRun, options: CompileOptions): CompiledLoss {
  const { ranks = 1 } = options;
  const devices = engineInfo().devices?.length ?? 1;
  if (options.rows % devices !== 0) {
    const wanted = `${options.rows} images at a time cannot be divided among ${devices} devices`;
    throw new UsageError(wanted, 'choose --batch-size and --micro-batch accordingly, or fewer --devices');
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
