/**
 * Starts a run from the weights of another: tensors that fit the network are taken; of the label table, the positions
 * and the channels, what means the same in both; the rest starts as in any run. The record of the run names all of it.
 */
import { DataError } from '../errors.js';
import { classNames } from '../images/class-map.js';
import { isFrozen, type ParameterPlan } from '../models/start.js';
import { sinCosPositions } from '../nn/embeddings.js';
import { resamplePositions } from '../nn/positions.js';
import { sameShape, showShape } from '../numbers/typed-array.js';
import { networkParameters, prefixTokens, startingNetwork } from '../repa/network.js';
import type { RunRecord, WeightsOrigin } from './record.js';

/** Weights of a checkpoint, a file or a published model; a tensor is read when it is asked for. */
export interface InitialWeights {
  source: string;
  sha256: string | null;
  /** What is known of the run that made them. */
  record: RunRecord;
  /** Which of the weights there: `raw`, `ema 0.9999`. */
  weights: string;
  /** Steps that they were trained for; null where nothing tells. */
  step: number | null;
  tensors: ReadonlyMap<string, { readonly shape: readonly number[]; read(): Float32Array }>;
  close(): void;
}

type Source = Pick<InitialWeights, 'record' | 'tensors'>;

/** How one parameter takes a part of its values from the source. */
interface Adaptation {
  /** What was done, in words after the parameter's name. */
  how: string;
  /** Writes values of the source over those that the parameter starts with. */
  apply(values: Float32Array, given: Float32Array): void;
}

/** Where the parameters of a network that starts from weights come from, by name. */
export interface Fit {
  taken: string[];
  adapted: Map<string, Adaptation>;
  fresh: string[];
  /** Tensors of the source that the network has no place for. */
  left: string[];
}

const LABELS = 'y_embedder.embedding_table.weight';
const PATCHES = 'x_embedder.proj.weight';
const OUTPUT = /^final_layer(_xr)?\.linear\.(weight|bias)$/;

/**
 * Compares the weights with the network of a run.
 * @throws DataError when no block fits
 */
export function fitWeights(record: RunRecord, { source, ...from }: InitialWeights): Fit {
  const fit: Fit = { taken: [], adapted: new Map(), fresh: [], left: [] };
  const parameters = networkParameters(record);
  for (const [name, plan] of parameters) {
    const given = from.tensors.get(name);
    if (given && sameShape(given.shape, plan.shape) && fitsInside(name, record, from)) fit.taken.push(name);
    else {
      const adaptation = given && adapt(name, plan, record, from);
      if (adaptation) fit.adapted.set(name, adaptation);
      else fit.fresh.push(name);
    }
  }
  fit.left.push(...[...from.tensors.keys()].filter((name) => !parameters.has(name)));
  // A bias alone may have the same length by chance.
  if (!fit.taken.some((name) => name.startsWith('blocks.'))) throw nothingFits(record, from, source);
  return fit;
}

function nothingFits(record: RunRecord, from: Source, source: string): DataError {
  const size = ({ model }: RunRecord): string =>
    `${model.depth} blocks of width ${model.hiddenSize} on patches of ${model.patchSize}`;
  return new DataError(
    `--init ${source}: no block of it fits: it has ${size(from.record)}, the model ${size(record)}`,
    'Name the model with --model, or its sizes with --depth, --width and --patch-size.',
  );
}

/**
 * Whether a tensor of the same shape means the same: classes may be numbered otherwise, and the output predict another
 * thing.
 */
const fitsInside = (name: string, record: RunRecord, from: Source): boolean =>
  (name !== LABELS || classesOf(record, from) === 'the same') && (!OUTPUT.test(name) || predictsTheSame(record, from));

const predictsTheSame = ({ model }: RunRecord, { record: before }: Source): boolean =>
  model.prediction === before.model.prediction;

/** The number of each class by its name. */
const numbersOf = (names: string[] | undefined) => names && new Map(names.map((name, number) => [name, number]));

/** How far the classes of two runs are the same: by their names where both tell them, else by their number. */
function classesOf(record: RunRecord, { record: before }: Source): 'the same' | Map<number, number> {
  const [own, others] = [record, before].map(({ data }) => numbersOf(classNames(data.latents.metadata)));
  const same = record.model.numClasses === before.model.numClasses;
  if (!own || !others) return same ? 'the same' : new Map();
  const numbers = [...own].flatMap(([name, number]): [number, number][] => {
    const other = others.get(name);
    return other === undefined ? [] : [[number, other]];
  });
  const isSame = same && numbers.length === own.size && numbers.every(([number, other]) => number === other);
  return isSame ? 'the same' : new Map(numbers);
}

function adapt(name: string, plan: ParameterPlan, record: RunRecord, from: Source): Adaptation | undefined {
  if (isFrozen(plan)) return adaptPositions(plan.shape, record, from);
  if (name === LABELS) return adaptLabels(plan.shape, record, from);
  if (name === PATCHES) return adaptPatches(plan.shape, record, from);
  if (OUTPUT.test(name) && predictsTheSame(record, from)) return adaptOutput(record, from);
  return undefined;
}

/**
 * Sines and cosines are those of any grid; positions of another kind are resampled, as REPA resamples those of
 * encoders.
 */
function adaptPositions([, tokens, dim]: readonly number[], record: RunRecord, from: Source): Adaptation | undefined {
  const given = from.tensors.get('pos_embed')!;
  const [before, now] = [prefixTokens(from.record), prefixTokens(record)];
  const [side, ownSide] = [Math.sqrt(given.shape[1] - before), Math.sqrt(tokens - now)];
  if (given.shape[2] !== dim || !Number.isInteger(side)) return undefined;
  const sizes = `from ${side}x${side} to ${ownSide}x${ownSide}`;
  const grid = given.read().subarray(before * dim);
  const expected = sinCosPositions(side, dim);
  if (grid.every((value, i) => Math.abs(value - expected[i]) < 1e-4))
    return { how: `computed ${sizes}`, apply: () => {} };
  return {
    how: `resampled ${sizes}`,
    apply: (values, all) => {
      const [old, target] = [side, ownSide].map((each) => ({ height: each, width: each }));
      values.set(resamplePositions(all.subarray(before * dim), old, target, 'timm'), now * dim);
    },
  };
}

/** The rows of classes of the same name, and the null class. */
function adaptLabels([, width]: readonly number[], record: RunRecord, from: Source): Adaptation | undefined {
  const { shape } = from.tensors.get(LABELS)!;
  if (shape[1] !== width) return undefined;
  const classes = classesOf(record, from);
  const rows = new Map(classes === 'the same' ? [] : classes);
  const { model } = record;
  const hasNull = model.nullClass && from.record.model.nullClass;
  if (classes === 'the same') for (let row = 0; row < model.numClasses; row++) rows.set(row, row);
  const known = rows.size;
  if (hasNull) rows.set(model.numClasses, from.record.model.numClasses);
  if (rows.size === 0) return undefined;
  return {
    how: `${known} of ${model.numClasses} classes${hasNull ? ' and the null class' : ''}`,
    apply: (values, given) => {
      for (const [row, other] of rows) values.set(given.subarray(other * width, (other + 1) * width), row * width);
    },
  };
}

/** How many of the first channels mean the same: those of the latents, without what methods generate beside them. */
function sharedChannels({ latent }: RunRecord, { record: before }: Source): number | undefined {
  const [own, others] = [latent.shape[0], before.latent.shape[0]];
  return own === others ? own : undefined;
}

function adaptPatches(
  [width, channels, patch]: readonly number[],
  record: RunRecord,
  from: Source,
): Adaptation | undefined {
  const { shape } = from.tensors.get(PATCHES)!;
  const shared = sharedChannels(record, from);
  if (shared === undefined || shape[0] !== width || shape[2] !== patch) return undefined;
  const area = patch * patch;
  return {
    how: `${shared} of ${channels} channels`,
    apply: (values, given) => {
      for (let row = 0; row < width; row++) {
        const start = row * shape[1] * area;
        values.set(given.subarray(start, start + shared * area), row * channels * area);
      }
    },
  };
}

/** The final map [patch^2 C, D], channels fastest: those of the latents, without a variance. */
function adaptOutput(record: RunRecord, from: Source): Adaptation | undefined {
  const { outChannels, patchSize, hiddenSize } = record.model;
  const { model: before } = from.record;
  const shared = sharedChannels(record, from);
  if (shared === undefined || before.patchSize !== patchSize || before.hiddenSize !== hiddenSize) return undefined;
  return {
    how: `${shared} of ${outChannels} channels${before.outChannels > before.inChannels ? ', without the variance' : ''}`,
    apply: (values, given) => {
      const width = values.length / (patchSize ** 2 * outChannels);
      for (let pixel = 0; pixel < patchSize ** 2; pixel++) {
        const start = pixel * before.outChannels * width;
        values.set(given.subarray(start, start + shared * width), pixel * outChannels * width);
      }
    },
  };
}

/** The first weights of a run, one by one, in the order of its network. */
export function* initialNetwork(
  record: RunRecord,
  from: InitialWeights,
): Generator<[name: string, weight: { readonly data: Float32Array }]> {
  const { taken, adapted } = fitWeights(record, from);
  const isTaken = new Set(taken);
  for (const [name, { data }] of startingNetwork(record, record.training.seed)) {
    if (isTaken.has(name)) yield [name, { data: from.tensors.get(name)!.read() }];
    else {
      adapted.get(name)?.apply(data, from.tensors.get(name)!.read());
      yield [name, { data }];
    }
  }
}

/** The entry of a record about the weights that the run starts from. */
export function originOf(fit: Fit, { source, sha256, step, weights }: InitialWeights): WeightsOrigin {
  const { taken, adapted, fresh, left } = fit;
  return {
    ...{ by: 'init', source, sha256, step, weights: { model: weights, ema: weights }, at: 0, taken: taken.length },
    adapted: [...adapted].map(([name, { how }]) => `${name} (${how})`),
    fresh,
    left,
  };
}

/** Names of parameters summed up by the parts of the network, such as `blocks.0 (8), y_embedder`. */
export function namedParts(names: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const name of names) {
    const part = /^((?:blocks|projectors)\.\d+|[^.]+)/.exec(name)![1];
    counts.set(part, (counts.get(part) ?? 0) + 1);
  }
  return [...counts].map(([part, count]) => (count === 1 ? part : `${part} (${count})`)).join(', ');
}

/** Lines about a run that starts from weights: what was taken, and how the two runs differ. */
export function describeOrigin(record: RunRecord, from: InitialWeights): string[] {
  const { source, weights, taken, adapted, fresh, left, step } = record.origin!;
  const steps = step === null ? '' : `, step ${step}`;
  return [
    `starting from ${source} (${weights.ema}${steps}): ${taken} tensors as they are`,
    ...(adapted.length > 0 ? [`in part: ${adapted.join(', ')}`] : []),
    ...(fresh.length > 0 ? [`afresh: ${namedParts(fresh)}`] : []),
    ...(left.length > 0 ? [`left: ${namedParts(left)}`] : []),
    ...differencesOf(record, from.record).map((each) => `note: ${each}`),
  ];
}

/** How the run that made the weights differs from this one, although they fit. */
function differencesOf(record: RunRecord, before: RunRecord): string[] {
  const codec = ({ data }: RunRecord): string | undefined => data.latents.metadata['repa.model'];
  const facts: [what: string, own: unknown, others: unknown][] = [
    ['heads', record.model.numHeads, before.model.numHeads],
    ['rotary positions', record.model.rotary, before.model.rotary],
    ['architecture', record.architecture, before.architecture],
    ['path', record.training.path, before.training.path],
    ['prediction', record.model.prediction ?? 'velocity', before.model.prediction ?? 'velocity'],
    ['shift of times', record.training.timeShift, before.training.timeShift],
    ['latents of', codec(record), codec(before)],
    ['scale of latents', showShape(record.latent.scale), showShape(before.latent.scale)],
  ];
  return facts
    .filter(([, own, others]) => own !== others && own !== undefined && others !== undefined)
    .map(([what, own, others]) => `${what}: ${others} there, ${own} here`);
}
