/** The steps of an optimiser, on the processor or on a device. */
import type { AdamWOptions } from './adamw.js';

export interface StepOptions extends AdamWOptions {
  /** Largest norm of the gradient: a longer one is scaled down to it. Null for no limit. */
  clip: number | null;
  /** The decay of each moving average: average = decay * average + (1 - decay) * parameter. Empty leaves them alone. */
  emaDecays: readonly number[];
}

/** What is done with the gradients of a store, in the memory that its parameters lie in. */
export interface Steps {
  /** Adds the gradients of one batch to the sum. */
  accumulate(): void;
  /** Turns the sum, with the last batch, into the mean over `batches` batches. */
  average(batches: number): void;
  /**
   * One step of AdamW, of Muon for the parameters that are learned by it, then of the moving averages.
   * @returns the norm of the gradients before clipping; when it is not finite, nothing has changed
   */
  step(options: StepOptions): number;
  dispose(): void;
}
