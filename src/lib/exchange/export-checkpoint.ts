/** A checkpoint of ours in the formats of the official code, under its names: it loads there with strict=True. */
import path from 'node:path';
import { UsageError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { Tuple } from '../formats/pickle-writer.js';
import { type LazyTensor, type SafetensorsFile, writeSafetensors } from '../formats/safetensors.js';
import { type Savable, writeTorch } from '../formats/torch-writer.js';
import { checkFinite } from '../models/parameters.js';
import { isFrozen } from '../models/start.js';
import { WEIGHTS_KEY } from '../pretrained/official-checkpoint.js';
import { networkParameters } from '../repa/network.js';
import { findCheckpoint, openCheckpointPart, readCheckpointRecord } from '../training/checkpoint.js';
import { ADAM, type RunRecord, writtenRecord } from '../training/record.js';
import { type WeightsChoice, weightsName, weightsPart } from '../training/weights-choice.js';
import { RUN_KEY, toOfficialArguments } from './official-run.js';

/**
 * Writes a checkpoint as `.safetensors` (one set of weights) or as `.pt` (all that train.py saves: model, ema, opt,
 * args, steps).
 * @throws MissingInputError when there is no checkpoint; UsageError for another extension; DataError for weights that
 *   are not finite
 */
export async function exportCheckpoint(location: string, file: string, choice: WeightsChoice): Promise<void> {
  const checkpoint = findCheckpoint(location);
  const record = readCheckpointRecord(checkpoint);
  switch (path.extname(file)) {
    case '.safetensors':
      return exportSafetensors(checkpoint, record, file, choice);
    case '.pt':
      if (choice.raw || choice.ema !== undefined) {
        throw new UsageError('a .pt holds both the weights and their moving average: drop --raw and --ema');
      }
      return exportTorch(checkpoint, record, file);
    default:
      throw new UsageError(`-o ${file}: a checkpoint is written as .safetensors or .pt`);
  }
}

/** Parameters in the order of the official module, which is how its optimiser numbers them. */
const parameterNames = (record: RunRecord): string[] => [...networkParameters(record).keys()];

/** @throws DataError, when it is loaded, for a tensor that holds infinities or NaN */
const lazily = (file: SafetensorsFile, name: string): LazyTensor => ({
  ...file.info(name),
  load: () => checkFinite(file.read(name).data as Float32Array, name, file.path),
});

function exportSafetensors(checkpoint: string, record: RunRecord, file: string, choice: WeightsChoice): void {
  const source = openCheckpointPart(checkpoint, weightsPart(record, choice));
  try {
    const metadata = {
      format: 'pt', // says whose names and layouts these are: loaders of Hugging Face ask for it
      [RUN_KEY]: JSON.stringify(writtenRecord(record)),
      [WEIGHTS_KEY]: weightsName(record, choice),
    };
    const tensors = parameterNames(record).map((name) => [name, lazily(source, name)] as const);
    writeSafetensors(file, tensors, metadata);
  } finally {
    source.close();
  }
}

async function exportTorch(checkpoint: string, record: RunRecord, file: string): Promise<void> {
  // The official code knows AdamW alone: a run of another optimiser goes on there with moments of zero.
  const hasMoments = record.step > 0 && record.training.optimizer === 'adamw';
  const parts = ['model', 'ema', ...(hasMoments ? ['optimizer'] : [])].map((part) =>
    openCheckpointPart(checkpoint, part),
  );
  const [model, ema, optimizer] = parts;
  try {
    const stateDict = (source: SafetensorsFile) =>
      new Map(parameterNames(record).map((name) => [name, lazily(source, name)]));
    await writeTorch(file, {
      model: stateDict(model),
      ema: stateDict(ema),
      opt: adamState(record, optimizer),
      args: { ...toOfficialArguments(record), [RUN_KEY]: JSON.stringify(writtenRecord(record)) },
      steps: record.step,
    });
  } finally {
    for (const part of parts) part.close();
  }
}

/** The state dict of `torch.optim.AdamW` over all parameters of the module; frozen ones have a number and no state. */
function adamState(record: RunRecord, moments: SafetensorsFile | undefined): Savable {
  const parameters = [...networkParameters(record)];
  const step: HostTensor = { shape: [], dtype: 'f32', data: Float32Array.of(record.step) };
  const state = parameters.flatMap(([name, plan], number): [number, Savable][] => {
    if (isFrozen(plan) || !moments) return [];
    const [first, second] = [`exp_avg.${name}`, `exp_avg_sq.${name}`].map((each) => lazily(moments, each));
    return [[number, { step, exp_avg: first, exp_avg_sq: second }]];
  });
  const { learningRate, beta2, weightDecay } = record.training;
  const group = {
    lr: learningRate,
    betas: new Tuple([ADAM.beta1, beta2]),
    eps: ADAM.epsilon,
    weight_decay: weightDecay,
    amsgrad: false,
    maximize: false,
    foreach: null,
    capturable: false,
    params: parameters.map((_, number) => number),
  };
  return { state: new Map(state), param_groups: [group] };
}
