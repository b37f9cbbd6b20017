/** Measurements of a run while it trains. The trainer decides when; it does not know what is measured, or how. */
import type { ParameterStore } from '../optim/index.js';
import type { ProcessGroup } from '../parallel/group.js';
import type { Besides } from '../repa/method.js';
import type { Log } from './log.js';
import type { RunRecord } from './record.js';
import { Stopwatch } from './stopwatch.js';

/** The run that is measured, by its moving average. */
export interface MonitoredRun {
  store: ParameterStore;
  record: RunRecord;
  group: ProcessGroup;
  /** What its data give besides latents, labels and features. */
  besides: Besides;
  /** The folder of the run. */
  out: string;
  /** Whether a signal asks for the end. */
  shouldStop(): boolean;
}

/** A measurement that becomes one line of the log. */
export interface Measure {
  readonly name: string;
  /**
   * All ranks call it together; the result of the first one counts. It changes neither weights nor data of the run.
   * @returns undefined when it was stopped before its end
   */
  run(step: number): Promise<Record<string, unknown> | undefined>;
}

export interface RunMonitor {
  /** Steps between measurements. */
  readonly every: number;
  readonly measures: readonly Measure[];
  dispose(): Promise<void>;
}

/** Opens what a monitor needs before the first step, so that what is missing shows at once. */
export type OpenMonitor = (run: MonitoredRun) => Promise<RunMonitor>;

export interface Measuring {
  /** Takes the measurements due at a step and logs them, but for those that the log already has of that step. */
  measure(step: number): Promise<void>;
  dispose(): Promise<void>;
}

/** @param log the log, on the first rank, which alone has one */
export async function openMeasuring(
  open: OpenMonitor | undefined,
  run: MonitoredRun,
  log: Log | undefined,
): Promise<Measuring> {
  const monitor = await open?.(run);
  return {
    async measure(step) {
      if (!monitor || step === 0 || step % monitor.every !== 0) return;
      for (const each of missingMeasures(monitor, run.group, log?.measuresOf(step))) {
        const watch = new Stopwatch();
        const result = await each.run(step);
        if (!result) return;
        await log?.write({ step, evaluation: each.name, ...result, seconds: watch.total });
      }
    },
    async dispose() {
      await monitor?.dispose();
    },
  };
}

/** The measures of a step that are not in the log: a run may have been stopped among them. */
function missingMeasures(
  { measures }: RunMonitor,
  group: ProcessGroup,
  logged: ReadonlySet<string> | undefined,
): Measure[] {
  const done = Uint8Array.from(measures, ({ name }) => Number(logged?.has(name) ?? false));
  group.broadcast(done); // the first rank reads the log
  return measures.filter((_, i) => !done[i]);
}
