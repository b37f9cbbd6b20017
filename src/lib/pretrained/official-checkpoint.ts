/**
 * Checkpoints of diffusion transformers as the official code of REPA, SiT and DiT saves them, `{model, ema, opt, args,
 * steps}`, and files of one set of weights, as they are published.
 */
import { DataError } from '../errors.js';
import type { HostTensor, TensorInfo } from '../formats/host-tensor.js';
import { isDict, type PickleDict } from '../formats/pickle.js';
import { openTorch } from '../formats/torch.js';
import { TorchTensor } from '../formats/torch-tensor.js';
import { openWeights, stateDictOf, weightsFormat } from '../formats/weights-file.js';
import { toOfficialNames } from '../models/dit.js';

/** A tensor of a file, fetched when it is asked for. */
export interface StoredTensor extends TensorInfo {
  read(): HostTensor;
}

/** Tensors by today's official names, in the order of the module's parameters. */
export type StateDict = ReadonlyMap<string, StoredTensor>;

export interface OfficialCheckpoint {
  readonly source: string;
  /** The weights after the last step. A file of one set of weights has it here and in `ema`. */
  readonly model: StateDict;
  readonly ema: StateDict;
  /** Adam's of each trained parameter, as `exp_avg.<name>` and `exp_avg_sq.<name>`; undefined where they were not saved. */
  readonly moments: StateDict | undefined;
  /** The command line of the run, as far as it was saved. */
  readonly args: Readonly<Record<string, unknown>>;
  /** Steps of training; undefined where the file does not say. */
  readonly step: number | undefined;
  /** The header of a safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  close(): void;
}

/**
 * Opens safetensors, a PyTorch checkpoint or an .npz; no tensor is read yet.
 * @throws MissingInputError when there is no such file; DataError when it holds no state dict, or is damaged
 */
export function openOfficialCheckpoint(source: string): OfficialCheckpoint {
  return (weightsFormat(source) === 'torch' && openTraining(source)) || openFlat(source);
}

/** A file of one state dict. */
function openFlat(source: string): OfficialCheckpoint {
  const file = openWeights(source);
  const tensors = file.names.map((name): [string, StoredTensor] => [
    name,
    { ...file.info(name), read: () => file.read(name) },
  ]);
  const weights = toOfficialNames(new Map(tensors));
  const { metadata } = file;
  const close = () => file.close();
  return { source, model: weights, ema: weights, moments: undefined, args: {}, step: undefined, metadata, close };
}

/** What train.py saves; undefined if the file holds something else. */
function openTraining(source: string): OfficialCheckpoint | undefined {
  const file = openTorch(source);
  try {
    const root: PickleDict = isDict(file.root) ? file.root : {};
    const [model, ema] = [stateDictOf(root.model), stateDictOf(root.ema)];
    if (model.size === 0 || ema.size === 0) {
      file.close();
      return undefined;
    }
    const named = toOfficialNames(model);
    const optimiser = readAdam(root.opt, [...named.keys()], source);
    return {
      source,
      model: named,
      ema: toOfficialNames(ema),
      moments: optimiser?.moments,
      args: isDict(root.args) ? root.args : {},
      step: typeof root.steps === 'number' ? root.steps : optimiser?.step, // SiT and DiT do not save it themselves
      metadata: {},
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * PyTorch's optimisers number parameters in the order of the module, which is that of its state dict: these modules
 * have no buffers. A parameter that is not trained has a number and no state.
 * @param names of the parameters, in that order.
 */
function readAdam(saved: unknown, names: readonly string[], source: string) {
  const state = isDict(saved) && isDict(saved.state) ? Object.entries(saved.state) : [];
  if (state.length === 0) return undefined;
  const moments = new Map<string, StoredTensor>();
  let step: number | undefined;
  for (const [number, entry] of state) {
    const name = names[Number(number)];
    const { exp_avg: first, exp_avg_sq: second, step: taken } = isDict(entry) ? entry : {};
    if (name === undefined || !(first instanceof TorchTensor) || !(second instanceof TorchTensor)) {
      throw new DataError(`${source}: number ${number} of the optimiser's state is not Adam's of a parameter`);
    }
    moments.set(`exp_avg.${name}`, first).set(`exp_avg_sq.${name}`, second);
    step ??= taken instanceof TorchTensor ? Number(taken.read().data[0]) : Number(taken);
  }
  return { moments, step };
}
