/**
 * Checkpoints of diffusion transformers as the official code of REPA, SiT and DiT saves them, `{model, ema, opt, args,
 * steps}`, as other training loops save them, and files of one set of weights, as they are published.
 */
import { DataError } from '../errors.js';
import { isDict, type PickleDict } from '../formats/pickle.js';
import { openTorch } from '../formats/torch.js';
import { openWeights, weightsFormat } from '../formats/weights-file.js';
import { LANDMARK } from '../models/dit-weights.js';
import { type Average, isAverage } from '../optim/average.js';
import { type AdamState, readAdam } from './adam-state.js';
import {
  chooseSets,
  contentsOf,
  type FileContents,
  type StateDict,
  type StoredTensor,
  weightSetsOf,
} from './weight-sets.js';

export type { StateDict, StoredTensor } from './weight-sets.js';

export interface OfficialCheckpoint {
  readonly source: string;
  /** The weights after the last step. A file of one set of weights has it here and in `ema`. */
  readonly model: StateDict;
  readonly ema: StateDict;
  /** What the file has: both sets, a moving average alone, or one set of which nothing tells what it is. */
  readonly holds: 'both' | 'average' | 'one';
  /** The decay of the average, where the file tells it. */
  readonly decay: Average | undefined;
  /** Whether it has the layout of the official code. */
  readonly isOfficial: boolean;
  /** What a file with one set tells of it: where it lies, or in our exports what it is. */
  readonly only: string;
  /** The optimiser's state; undefined where it was not saved. */
  readonly optimiser: AdamState | undefined;
  /** The command line of the run, as far as it was saved. */
  readonly args: Readonly<Record<string, unknown>>;
  /** Steps of training; undefined where the file does not say. */
  readonly step: number | undefined;
  /** The header of a safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  close(): void;
}

/** The entry in which our exports tell what a file of one set of weights is: `raw`, or `ema 0.9999`. */
export const WEIGHTS_KEY = 'repa.weights';

/**
 * Opens safetensors, a PyTorch checkpoint or an .npz; no weights are read yet.
 * @param key the path of the weights in it, where it holds several sets
 * @throws MissingInputError when there is no such file; DataError when it holds no weights of a diffusion transformer,
 *   or is damaged; UsageError when it holds several sets
 */
export function openOfficialCheckpoint(source: string, key?: string): OfficialCheckpoint {
  return weightsFormat(source) === 'torch' ? openPickled(source, key) : openFlat(source, key);
}

function openFlat(source: string, key: string | undefined): OfficialCheckpoint {
  const file = openWeights(source);
  const close = (): void => file.close();
  try {
    const tensors = file.names.map((name): [string, StoredTensor] => [
      name,
      { ...file.info(name), read: () => file.read(name) },
    ]);
    const contents = { tensors: new Map(tensors), lists: new Map(), numbers: new Map(), foreign: new Set<string>() };
    const { metadata } = file;
    const found = findWeights(contents, source, { key, told: metadata[WEIGHTS_KEY] });
    return { source, ...found, optimiser: undefined, args: {}, step: undefined, metadata, close };
  } catch (error) {
    close();
    throw error;
  }
}

function openPickled(source: string, key: string | undefined): OfficialCheckpoint {
  const file = openTorch(source);
  try {
    const root: PickleDict = isDict(file.root) ? file.root : {};
    const found = findWeights(contentsOf(file.root), source, { key });
    const optimiser = readAdam(optimiserOf(root), found.model);
    const steps = STEP_KEYS.map((name) => root[name]).find(isCount);
    const args = isDict(root.args) ? root.args : {};
    // SiT and DiT do not save the step themselves.
    return {
      source,
      ...found,
      optimiser,
      args,
      step: steps ?? optimiser?.step,
      metadata: {},
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Under which names training loops save their steps, and their optimiser. */
const STEP_KEYS = ['steps', 'step', 'global_step', 'train_steps'];
const OPTIMISER_KEYS = ['opt', 'optimizer', 'optimizer_state_dict', 'optimizer_states'];

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function optimiserOf(root: PickleDict): unknown {
  const saved = root[OPTIMISER_KEYS.find((name) => name in root) ?? ''];
  return Array.isArray(saved) ? saved[0] : saved;
}

/** The two sets of weights to use, and what is known of them. */
function findWeights(
  contents: FileContents,
  source: string,
  { key, told }: { key?: string; told?: string },
): Pick<OfficialCheckpoint, 'model' | 'ema' | 'holds' | 'decay' | 'isOfficial' | 'only'> {
  const sets = weightSetsOf(contents);
  if (sets.length === 0) throw noWeights(contents, source);
  const { weights, average } = chooseSets(sets, source, key);
  const [model, ema] = [(weights ?? average)!, (average ?? weights)!];
  const decay = average?.decay ?? toldAverage(told);
  const isAverage = average !== undefined || decay !== undefined;
  return {
    model: model.tensors,
    ema: ema.tensors,
    holds: weights && average ? 'both' : isAverage ? 'average' : 'one',
    decay,
    isOfficial: model.where === 'model' && ema.where === 'ema',
    only: told ?? (ema.where ? `the only set, '${ema.where}'` : 'the only set'),
  };
}

/** The average that a header names. */
function toldAverage(told: string | undefined): Average | undefined {
  const name = /^ema (.+)$/.exec(told ?? '')?.[1];
  const average = Number.isNaN(Number(name)) ? name : Number(name);
  return isAverage(average) ? average : undefined;
}

function noWeights({ tensors, foreign }: FileContents, source: string): DataError {
  const names = [...new Set([...tensors.keys()].map((name) => name.split('.')[0]))].slice(0, 10);
  const held = names.length > 0 ? `It holds tensors of ${names.join(', ')}` : 'It holds no tensors';
  const others = foreign.size > 0 ? `, and objects that are not read here: ${[...foreign].slice(0, 5).join(', ')}` : '';
  return new DataError(
    `${source}: not the weights of a SiT or DiT: ${LANDMARK} is missing`,
    `${held}${others}. repa info FILE lists them; of sharded checkpoints, gather a full state dict first.`,
  );
}
