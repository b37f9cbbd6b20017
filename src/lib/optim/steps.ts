/** What an optimiser does, on the processor or on a device. */
import type { AdamWOptions } from './adamw.js';

export interface StepOptions extends AdamWOptions {
  /** Largest norm of the gradient: a longer one is scaled down to it. Null for no limit. */
  clip: number | null;
  /** What stays of each moving average: average = decay * average + (1 - decay) * parameter. None leaves them alone. */
  emaDecays: readonly number[];
}

/** What follows the gradients of a store, where its parameters and their state lie. */
export interface Steps {
  /** Adds the gradients of one batch to those put aside. */
  accumulate(): void;
  /** Makes the gradients the mean over `batches` batches: those put aside and the last. */
  average(batches: number): void;
  /**
   * One step of AdamW, of Muon for the parameters that are learned by it, then of the moving averages.
   * @returns the norm of the gradients before clipping; when it is not finite, nothing has changed
   */
  step(options: StepOptions): number;
  dispose(): void;
}
