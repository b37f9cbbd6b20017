/** What measures a run while it trains. The trainer says when; what is measured, and how, it need not know. */
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
  /** What its data hold besides latents and labels. */
  besides: Besides;
  /** The folder of the run. */
  out: string;
  /** Whether a signal asks for the end. */
  shouldStop(): boolean;
}

/** One line of the log. */
export interface Measure {
  readonly name: string;
  /**
   * All ranks call it together; what the first one returns counts. Weights and data of the run are left as they are.
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

/** Opens what a monitor needs, before the first step: what is missing shows then. */
export type OpenMonitor = (run: MonitoredRun) => Promise<RunMonitor>;

/** A run that is measured now and then. */
export interface Measuring {
  /**
   * Measures what is due at a step, each measure one line of the log; what the log has already of that step is left
   * out.
   */
  measure(step: number): Promise<void>;
  dispose(): Promise<void>;
}

/** @param log of the first rank, which alone has one */
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

/** What is to be measured at a step: all, but for what the log of a run that was stopped there has already. */
function missingMeasures(
  { measures }: RunMonitor,
  group: ProcessGroup,
  logged: ReadonlySet<string> | undefined,
): Measure[] {
  const done = Uint8Array.from(measures, ({ name }) => Number(logged?.has(name) ?? false));
  group.broadcast(done); // the first rank reads the log
  return measures.filter((_, i) => !done[i]);
}
