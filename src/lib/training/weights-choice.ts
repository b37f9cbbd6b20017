/** The choice among the weights of a checkpoint. */
import { UsageError } from '../errors.js';
import type { Average } from '../optim/average.js';
import { averagePart } from './checkpoint.js';
import type { RunRecord } from './record.js';

export interface WeightsChoice {
  /** The weights themselves, not a moving average. */
  raw?: boolean;
  /** The moving average of this decay or width; default the run's first. */
  ema?: Average;
}

/**
 * The file of a checkpoint that holds the chosen weights.
 * @throws UsageError when the run keeps no moving average of that decay
 */
export function weightsPart({ training }: RunRecord, { raw = false, ema }: WeightsChoice): string {
  if (raw) return 'model';
  const index = ema === undefined ? 0 : training.emaDecays.indexOf(ema);
  if (index >= 0) return averagePart(training.emaDecays, index);
  throw new UsageError(`--ema ${ema}: the checkpoint has moving averages of ${training.emaDecays.join(', ')}`);
}

/**
 * What the chosen weights are called in records: `raw`, or `ema 0.9999`; of weights from elsewhere, as they were called
 * there.
 */
export function weightsName({ training, step, origin }: RunRecord, { raw = false, ema }: WeightsChoice): string {
  // Nothing was trained since they came from elsewhere.
  if (origin && origin.at === step) return raw ? origin.weights.model : origin.weights.ema;
  return raw ? 'raw' : `ema ${ema ?? training.emaDecays[0]}`;
}
