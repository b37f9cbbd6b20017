/** The measurements of a run while it trains. */

import { UsageError } from '../../errors.js';
import type { Measure, MonitoredRun, RunMonitor } from '../../training/monitor.js';
import { HeldOut } from './held-out.js';
import type { MonitorInputs } from './inputs.js';
import { type MonitorOptions, sampleCounts } from './options.js';
import { SampleMeasure } from './samples.js';

/**
 * Opens decoder, network, reference and held-out data.
 * @throws UnavailableError or MissingInputError for what is not there; DataError or UsageError for what does not fit
 */
export async function openMonitor(
  options: MonitorOptions & { evalEvery: number },
  run: MonitoredRun,
  inputs: MonitorInputs,
): Promise<RunMonitor> {
  if (!run.record.model.text && options.valText !== undefined) {
    throw new UsageError('--val-text is of an MM-DiT, which draws from text', 'Leave it out.');
  }
  const { pictures, compared } = sampleCounts(options);
  const heldOut = options.valLatents === undefined ? undefined : await HeldOut.open(options, run);
  const samples = pictures + compared > 0 ? await SampleMeasure.open(options, run, inputs) : undefined;
  const measures: Measure[] = [...(heldOut?.measures ?? []), ...(samples ? [samples] : [])];
  return {
    every: options.evalEvery,
    measures,
    async dispose() {
      samples?.dispose();
      await heldOut?.close();
    },
  };
}
