/** Opens what a run needs before its next step: its weights, its data, and the loss of each step. */
import type { ParameterStore } from '../optim/index.js';
import type { ProcessGroup } from '../parallel/group.js';
import { type ActiveMethod, activeMethods, areFollowing, methodsAt } from '../repa/methods.js';
import { type CompiledLoss, compileLoss, type LossRun } from './compiled-loss.js';
import { DrawnBatches } from './data/drawn.js';
import { BatchLoader, microBatches } from './data/loader.js';
import { type Prepared, prepareMethods } from './data/preparation.js';
import type { RunPlan } from './plan.js';
import { checkRanksAgree, divideBatch, type RankBatch } from './ranks.js';
import type { Stopwatch } from './stopwatch.js';
import { freshStore, restoreStore } from './store.js';

/** The weights, from the checkpoint or fresh ones, and this rank's share of each step. */
export function openWeights(
  { record, checkpoint, initial }: RunPlan,
  group: ProcessGroup,
): { store: ParameterStore; share: RankBatch } {
  const share = divideBatch(record.training, group);
  const accumulation = share.passes > 1;
  const store = checkpoint ? restoreStore(record, checkpoint, accumulation) : freshStore(record, accumulation, initial);
  initial?.close();
  checkRanksAgree(group, store, record);
  return { store, share };
}

/** Prepares the methods on the data; from here on every batch holds what they generate beside the images. */
export async function openData({ set, record, checkpoint }: RunPlan, group: ProcessGroup): Promise<Prepared> {
  const prepared = await prepareMethods(record, set, checkpoint, group);
  set.include(prepared.besides);
  return prepared;
}

/** The loss of a run, compiled anew when a method stops following features. */
export class StepLoss {
  readonly #active: readonly ActiveMethod[];
  readonly #compile: (methods: readonly ActiveMethod[]) => CompiledLoss;
  #compiled: { following: boolean; loss: CompiledLoss } | undefined;

  constructor(
    store: ParameterStore,
    { set, record }: RunPlan,
    options: { rows: number; ranks: number; checkpointBlocks: number },
  ) {
    const run: LossRun = {
      network: record,
      training: record.training,
      latentShape: set.latents.shape,
      features: set.features,
      emptyText: set.captions?.empty,
    };
    this.#active = activeMethods(record.methods);
    this.#compile = (methods) => compileLoss(store, run, { ...options, methods });
  }

  /** Whether features are followed at a step, counted from 0. */
  follows(step: number): boolean {
    return areFollowing(methodsAt(this.#active, step));
  }

  /** The loss of a step, counted from 0. */
  at(step: number): CompiledLoss {
    const following = this.follows(step);
    if (this.#compiled?.following === following) return this.#compiled.loss;
    this.#compiled?.loss.dispose();
    const loss = this.#compile(methodsAt(this.#active, step));
    this.#compiled = { following, loss };
    return loss;
  }
}

/**
 * The micro-batches of this rank from one step to another, each ready before its step.
 * @param watchAhead takes the time of what is drawn while a device computes; without it nothing is drawn ahead
 */
export function openBatches(
  { set, record }: RunPlan,
  group: ProcessGroup,
  { loss, passes, from, to }: { loss: StepLoss; passes: number; from: number; to: number },
  watchAhead?: Stopwatch,
): { drawn: DrawnBatches; loader: BatchLoader } {
  const follows = (step: number): boolean => loss.follows(step);
  const loader = new BatchLoader(set, microBatches(set, record, group, { from, to, follows }));
  return { loader, drawn: new DrawnBatches(loader, (to - from) * passes, watchAhead) };
}
