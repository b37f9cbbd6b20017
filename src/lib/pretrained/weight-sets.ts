/**
 * The sets of weights that a file of somebody else's holds: where the weights of a diffusion transformer lie in it, and
 * which of them are a moving average. Files are made by many training loops: `{model, ema}` of the official code,
 * `model_ema`, `ema_state_dict`, Lightning's `state_dict` of `model.*` and `ema_model.*`, shadows with their decay,
 * PyTorch's averaged models, latent-diffusion's averages whose names have lost their dots, lists of shadows in the
 * order of the parameters.
 */
import { DataError, UsageError } from '../errors.js';
import type { TensorInfo } from '../formats/host-tensor.js';
import { foreignName, isDict } from '../formats/pickle.js';
import { TorchTensor } from '../formats/torch-tensor.js';
import { LANDMARK, toOfficialNames } from '../models/dit-weights.js';
import { sameShape } from '../numbers/typed-array.js';
import { toOwnLayout } from './published-layouts.js';
import type { StateDict, StoredTensor } from './state-dict.js';

export type { StateDict, StoredTensor } from './state-dict.js';

/** One set of weights, with what its path in the file tells. */
export interface WeightSet {
  /** The path to it, as `ema.shadow`; empty where the whole file is the set. */
  where: string;
  isAverage: boolean;
  /** The decay of an average, where the file tells it. */
  decay: number | undefined;
  tensors: StateDict;
}

/** The contents of a file, by path. */
export interface FileContents {
  tensors: ReadonlyMap<string, StoredTensor>;
  /** Lists of tensors without names. */
  lists: ReadonlyMap<string, readonly StoredTensor[]>;
  numbers: ReadonlyMap<string, number>;
  /** Classes of objects that are not known. */
  foreign: ReadonlySet<string>;
}

/** No weights are nested deeper. */
const DEEPEST = 16;

/** Everything below a value of a pickle; a value that occurs twice is visited once. */
export function contentsOf(root: unknown): FileContents {
  const tensors = new Map<string, StoredTensor>();
  const lists = new Map<string, StoredTensor[]>();
  const numbers = new Map<string, number>();
  const foreign = new Set<string>();
  const seen = new Set<unknown>();
  const visit = (value: unknown, path: string, depth: number): void => {
    if (value instanceof TorchTensor) tensors.set(path, value);
    else if (typeof value === 'number') numbers.set(path, value);
    const isLeaf = typeof value !== 'object' || value === null || value instanceof TorchTensor;
    if (isLeaf || seen.has(value) || depth > DEEPEST) return;
    seen.add(value);
    if (Array.isArray(value)) {
      if (value.length > 0 && value.every((each) => each instanceof TorchTensor)) lists.set(path, value);
      return;
    }
    const name = foreignName(value);
    if (name !== undefined) foreign.add(name);
    if (!isDict(value)) return;
    for (const [key, each] of Object.entries(value)) visit(each, path ? `${path}.${key}` : key, depth + 1);
  };
  visit(root, '', 0);
  return { tensors, lists, numbers, foreign };
}

/** What wrappers of parallel, sharded, compiled and checkpointed modules put into names. */
const WRAPPERS = /(^|\.)(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)(?=\.)/g;

/** A name without them. */
export const unwrappedName = (name: string): string =>
  name
    .replace(WRAPPERS, '$1')
    .replace(/\.{2,}/g, '.')
    .replace(/^\./, '');

/** Names of latent-diffusion's averages are those of the weights without dots. */
const withoutDots = (name: string): string => name.replaceAll('.', '');

/** The words of a path: `modelEma.ema_params` is model, ema, ema, params. */
const wordsOf = (path: string): string[] =>
  path
    .replace(/([a-z])(?=[A-Z])/g, '$1 ')
    .toLowerCase()
    .split(/[^a-z]+/);
const AVERAGE_WORDS = new Set(['ema', 'shadow', 'average', 'averaged', 'avg', 'swa']);

/** The counter that PyTorch's averaged models keep beside their weights. */
const AVERAGED_COUNT = 'n_averaged';

/**
 * Paths at which the weights of a diffusion transformer begin; with the point that follows, if the path is not empty.
 */
function prefixesOf(names: Iterable<string>): string[] {
  const [first] = LANDMARK.split('.');
  const found = new Set<string>();
  for (const name of names) {
    if (`.${unwrappedName(name)}`.endsWith(`.${LANDMARK}`)) found.add(name.slice(0, name.lastIndexOf(`${first}.`)));
  }
  return [...found];
}

/** A bound that no file reaches; each set costs a pass over all tensors. */
const MOST_SETS = 64;

/**
 * The sets of weights of diffusion transformers in a file, in its order.
 * @throws DataError when two tensors of a set have one name, or there are sets without end
 */
export function weightSetsOf(contents: FileContents): WeightSet[] {
  const { tensors, lists } = contents;
  const prefixes = prefixesOf(tensors.keys());
  if (prefixes.length > MOST_SETS)
    throw new DataError(`the file holds ${prefixes.length} sets of weights, more than ${MOST_SETS}`);
  const named = prefixes.map((prefix) => {
    const others = prefixes.filter((each) => each.length > prefix.length && each.startsWith(prefix));
    return setAt(prefix, others, contents);
  });
  const [weights] = named.filter(({ isAverage }) => !isAverage);
  if (!weights) return named;
  const undotted = prefixesOfUndotted(tensors.keys()).flatMap((prefix) => undottedSet(prefix, weights, contents));
  const listed = [...lists].flatMap(([path, list]) => listedSet(path, list, weights, contents));
  return [...named, ...undotted, ...listed];
}

function setAt(prefix: string, others: readonly string[], contents: FileContents): WeightSet {
  const own = new Map<string, StoredTensor>();
  for (const [path, tensor] of contents.tensors) {
    if (!path.startsWith(prefix) || others.some((other) => path.startsWith(other))) continue;
    const name = unwrappedName(path.slice(prefix.length));
    if (own.has(name)) throw new DataError(`two tensors of the file stand for ${name}; one is ${path}`);
    own.set(name, tensor);
  }
  return { ...placeOf(prefix, contents), tensors: toOfficialNames(toOwnLayout(own)) };
}

/** The facts that the path of a set tells. */
function placeOf(prefix: string, contents: FileContents): Omit<WeightSet, 'tensors'> {
  const where = prefix.replace(/\.$/, '');
  const beside = prefix.replace(/module\.$/, '');
  const isAveraged =
    contents.tensors.has(`${beside}${AVERAGED_COUNT}`) || contents.numbers.has(`${beside}${AVERAGED_COUNT}`);
  const isAverage = isAveraged || wordsOf(where).some((word) => AVERAGE_WORDS.has(word));
  return {
    where: unwrappedName(prefix).replace(/\.$/, ''),
    isAverage,
    decay: isAverage ? decayOf(where, contents) : undefined,
  };
}

/** The decay in a path such as `ema_0.9999`, or in a number `decay` beside or above the weights. */
function decayOf(where: string, { tensors, numbers }: FileContents): number | undefined {
  const inPath = /(?:^|[^\d.])(0\.\d+)/.exec(where)?.[1];
  if (inPath !== undefined) return Number(inPath);
  const parts = where.split('.');
  const folders = [where, parts.slice(0, -1).join('.')].map((path) => (path ? `${path}.` : ''));
  const paths = [
    ...folders.flatMap((folder) => [`${folder}decay`, `${folder}ema_decay`]),
    'args.ema_decay',
    'args.ema_rate',
  ];
  const told = paths.map((path) => numbers.get(path) ?? scalarOf(tensors.get(path)));
  return told.find((value) => value !== undefined && value > 0 && value < 1);
}

function scalarOf(tensor: StoredTensor | undefined): number | undefined {
  if (!tensor || tensor.shape.some((dim) => dim !== 1)) return undefined;
  const value = Number(tensor.read().data[0]);
  return tensor.dtype === 'f32' ? Number(value.toPrecision(7)) : value; // 0.9999 as it was before it was rounded
}

const UNDOTTED = withoutDots(LANDMARK);
const prefixesOfUndotted = (names: Iterable<string>): string[] =>
  [...names].filter((name) => name.endsWith(UNDOTTED)).map((name) => name.slice(0, -UNDOTTED.length));

function undottedSet(prefix: string, weights: WeightSet, contents: FileContents): WeightSet[] {
  const place = placeOf(prefix.slice(0, prefix.lastIndexOf('.') + 1), contents);
  const pairs = [...weights.tensors.keys()].flatMap((name): [string, StoredTensor][] => {
    const tensor = contents.tensors.get(prefix + withoutDots(name));
    return tensor ? [[name, tensor]] : [];
  });
  return place.isAverage ? [{ ...place, tensors: new Map(pairs) }] : [];
}

/** A list is of all parameters, or of those that are trained: which of them, their shapes tell. */
function listedSet(
  path: string,
  list: readonly StoredTensor[],
  weights: WeightSet,
  contents: FileContents,
): WeightSet[] {
  const place = placeOf(`${path}.`, contents);
  const names = namesOfList(list, weights.tensors);
  if (!place.isAverage || !names) return [];
  const averages = new Map(names.map((name, i) => [name, list[i]]));
  const tensors = new Map([...weights.tensors].map(([name, tensor]) => [name, averages.get(name) ?? tensor]));
  return [{ ...place, tensors }];
}

/** Whether a parameter is trained: positions are not. */
export const isTrained = (name: string): boolean => name !== 'pos_embed';

/** The names of the parameters that are trained, in the order of the module. */
export const trainedNames = (weights: StateDict): string[] => [...weights.keys()].filter(isTrained);

/**
 * The names of tensors that are listed in the order of the parameters, of all or of the trained ones; undefined where
 * their number or their shapes are others.
 */
function namesOfList(list: readonly TensorInfo[], weights: StateDict): string[] | undefined {
  return [[...weights.keys()], trainedNames(weights)].find(
    (names) =>
      names.length === list.length && list.every(({ shape }, i) => sameShape(shape, weights.get(names[i])!.shape)),
  );
}

/** The sets of a file to use: the weights after the last step, and their moving average. */
export interface ChosenSets {
  weights: WeightSet | undefined;
  average: WeightSet | undefined;
}

/**
 * The sets to use: those at `key`, else the only ones of their kind.
 * @throws DataError when there are none; UsageError when there are several of a kind, or none at `key`
 */
export function chooseSets(sets: readonly WeightSet[], source: string, key?: string): ChosenSets {
  const names = sets.map(({ where }) => `'${where}'`).join(', ');
  const asked = key === undefined ? sets : sets.filter(({ where }) => where === key || where.startsWith(`${key}.`));
  if (key !== undefined && asked.length === 0) {
    throw new UsageError(`--key ${key}: ${source} has no weights there, but at ${names}`);
  }
  const averages = asked.filter(({ isAverage }) => isAverage);
  const others = asked.filter(({ isAverage }) => !isAverage);
  if (averages.length > 1 || others.length > 1) {
    throw new UsageError(
      `${source} holds several sets of weights, at ${names}`,
      `Name the one to use with --key, such as --key ${asked[0].where || asked[1].where}.`,
    );
  }
  return { weights: others[0], average: averages[0] };
}
