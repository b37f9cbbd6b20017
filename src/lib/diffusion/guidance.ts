/** Guidance: one prediction made of two, a conditional one and one to move away from. */
import { hostSpace, type MaybePromise, type Space, type Values } from './space.js';

export type { Values } from './space.js';

/** One time for all rows of a batch, or one a row, [N]. */
export type Times = number | Float64Array;

/**
 * A class-conditional network: `x` [N, C, h, w] in f32, its times, one label a row; [N, C', h, w], at once or later.
 */
export type ConditionalNetwork<T extends Times = number, State = Values, Input = Float32Array> = (
  x: Input,
  t: T,
  labels: Int32Array,
) => MaybePromise<State>;

/**
 * What a sampler integrates: `x` [N, C, h, w] in f32 at time `t`. A solver that evaluates at several times within a
 * step passes the step's own time as `stepTime`, which decides whether the whole step is guided.
 */
export type Predictor<T extends Times = number, State = Values, Input = Float32Array> = (
  x: Input,
  t: T,
  stepTime: T,
) => MaybePromise<State>;

/** A predictor that takes either kind of times. */
export type TimedPredictor<State = Values, Input = Float32Array> = Predictor<Times, State, Input>;

/** The time of each of `rows` rows, as networks take them: [N]. */
export const timesOfRows = (t: Times, rows: number): Float32Array =>
  typeof t === 'number' ? new Float32Array(rows).fill(t) : new Float32Array(t);

export interface GuidanceOptions {
  /** The weight w of guide + w (conditional - guide); guidance is off at 1 and below. */
  scale: number;
  /** Guides only while low <= stepTime <= high, both ends included (arXiv 2404.07724); default all of [0, 1]. */
  low?: number;
  high?: number;
  /**
   * Guides only the first channels of the output; default all. The samplers of DiT and the original SiT guide 3, and
   * leave the other channels conditional.
   */
  channels?: number;
}

/** The batch that is sampled: one label a row, and how many values a channel of one row holds (h * w). */
export interface ConditionalBatch {
  labels: Int32Array;
  channelSize: number;
}

/**
 * Classifier-free guidance (arXiv 2207.12598): the conditional and the null-label prediction come from one call of the
 * network on a batch of twice the rows. Outside the guided interval only the conditional half is computed.
 */
export function classifierFreeGuidance<T extends Times, State = Values, Input = Float32Array>(
  network: ConditionalNetwork<T, State, Input>,
  batch: ConditionalBatch,
  nullLabel: number,
  options: GuidanceOptions,
  space: Space<State, Input> = hostSpace(),
): Predictor<T, State, Input> {
  const rows = batch.labels.length;
  const bothLabels = new Int32Array(2 * rows).fill(nullLabel);
  bothLabels.set(batch.labels);
  return async (x, t, stepTime) => {
    const guided = guidedRows(options, stepTime, rows);
    if (!guided.includes(true)) return network(x, t, batch.labels);
    const out = await network(space.twice(x), twice(t), bothLabels); // [2N, C', h, w]
    const [conditional, guide] = space.halves(out);
    return extrapolate(space, conditional, guide, guided, batch, options);
  };
}

/** For each row, whether its step is guided. */
export function guidedRows({ scale, low = 0, high = 1 }: GuidanceOptions, stepTime: Times, rows: number): boolean[] {
  const isGuided = (time: number): boolean => scale > 1 && low <= time && time <= high;
  return typeof stepTime === 'number' ? new Array(rows).fill(isGuided(stepTime)) : Array.from(stepTime, isGuided);
}

/** The times of a batch that is repeated once. */
const twice = <T extends Times>(t: T): T =>
  (typeof t === 'number' ? t : Float64Array.of(...(t as Float64Array), ...(t as Float64Array))) as T;

/** guide + scale (conditional - guide) in the guided channels and rows, the conditional value elsewhere; in f64. */
export function extrapolate<State, Input>(
  space: Space<State, Input>,
  conditional: State,
  guide: State,
  guided: readonly boolean[],
  { labels, channelSize }: ConditionalBatch,
  { scale, channels }: GuidanceOptions,
): State {
  const rows = labels.length;
  const apart = space.combine([1, -1], [conditional, guide]);
  const moved = space.combine([1, scale], [guide, apart]);
  const whole = channels === undefined ? moved : inFirst(space, channels * channelSize, moved, conditional, rows);
  return guided.includes(false) ? space.choose(guided, whole, conditional) : whole;
}

/** The first `size` numbers of the rows of `a`, then those of `b`. */
function inFirst<State, Input>(space: Space<State, Input>, size: number, a: State, b: State, rows: number): State {
  const width = space.sizeOf(b, rows);
  if (size >= width) return a;
  return space.join([space.columns(a, 0, size, rows), space.columns(b, size, width, rows)], rows);
}
