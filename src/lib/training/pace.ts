/** The work in the steps of a run, how fast they go, and how long the rest will take. */
import { forecast } from '../diagnosis/forecast.js';
import { productSpeed } from '../diagnosis/product-speed.js';
import type { ProcessGroup } from '../parallel/group.js';
import { showDuration } from '../progress.js';
import type { CompiledLoss } from './compiled-loss.js';

/** FLOPs of a run that is long enough to spend a third of a second on measuring the machine. */
const LONG_RUN = 3e12;
/** Steps that a forecast is made from, after the first, which compiles. */
export const MEASURED_STEPS = 3;

interface PaceOptions {
  /** Steps that are left of the run. */
  steps: number;
  /** Micro-batches of one step. */
  passes: number;
  group: ProcessGroup;
  say(line: string): void;
}

/** The fields of a step's line that tell how well the machine is used. */
export interface Utilization {
  model_flops_per_second?: number;
  model_flops_utilization?: number;
}

export class Pace {
  readonly #options: PaceOptions;
  /** FLOPs a second in products, over all ranks; undefined where it was not measured. */
  #speed: number | undefined;
  /** Seconds of the first steps: the one that compiles, then those that are measured. */
  readonly #times: number[] = [];

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Says before the first step how long the run takes at least. */
  begin(loss: CompiledLoss): void {
    const { steps, group, say } = this.#options;
    const flops = this.#stepFlops(loss);
    if (flops === undefined || flops * steps < LONG_RUN || group.rank > 0) return;
    this.#speed = productSpeed() * group.size;
    const least = flops / this.#speed;
    say(
      `a step is ${showFlops(flops)} in products, of which this machine does ${showFlops(this.#speed)} a second: ` +
        `${steps} steps take ${showDuration(steps * least)} or more`,
    );
  }

  /** Takes note of a step; after the first few, says how long the rest will take. */
  rates(loss: CompiledLoss, seconds: number): Utilization {
    if (this.#times.length <= MEASURED_STEPS && this.#times.push(seconds) > MEASURED_STEPS) this.#forecast();
    const flops = this.#stepFlops(loss);
    if (flops === undefined) return {};
    const rate = flops / seconds;
    if (this.#speed === undefined) return { model_flops_per_second: rate };
    return { model_flops_per_second: rate, model_flops_utilization: rate / this.#speed };
  }

  #forecast(): void {
    const mean = this.#times.slice(1).reduce((sum, time) => sum + time, 0) / MEASURED_STEPS;
    const line = forecast(this.#options.steps - this.#times.length, 'steps', mean);
    if (line !== undefined) this.#options.say(line);
  }

  /** FLOPs of the global batch. */
  #stepFlops({ flops }: CompiledLoss): number | undefined {
    const { passes, group } = this.#options;
    return flops && flops * passes * group.size;
  }
}

const UNITS = ['FLOP', 'kFLOP', 'MFLOP', 'GFLOP', 'TFLOP', 'PFLOP', 'EFLOP'];

function showFlops(flops: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, flops)) / 3));
  return `${(flops / 1000 ** power).toPrecision(3)} ${UNITS[power]}`;
}
