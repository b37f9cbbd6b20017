/** Guidance: one prediction made of two, a wanted one and one to move away from. */

/** What a network or a sampler may hand back: the values, at once or later. */
export type Values = Float32Array | Float64Array;
type MaybePromise<T> = T | Promise<T>;

/** One time for all rows of a batch, or one a row, [N]. */
export type Times = number | Float64Array;

/** A class-conditional network: `x` [N, C, h, w] in f32, its times, one label a row; [N, C', h, w]. */
export type ConditionalNetwork<T extends Times = number> = (
  x: Float32Array,
  t: T,
  labels: Int32Array,
) => MaybePromise<Values>;

/**
 * What a sampler integrates: `x` [N, C, h, w] in f32 at time `t`. A solver that evaluates at several times within a
 * step passes the step's own time as `stepTime`, which decides whether the whole step is guided.
 */
export type Predictor<T extends Times = number> = (x: Float32Array, t: T, stepTime: T) => MaybePromise<Values>;

/** One that takes either kind of times. */
export type TimedPredictor = Predictor<Times>;

/** The times of all `rows`, as networks take them. */
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
export function classifierFreeGuidance<T extends Times>(
  network: ConditionalNetwork<T>,
  batch: ConditionalBatch,
  nullLabel: number,
  options: GuidanceOptions,
): Predictor<T> {
  const rows = batch.labels.length;
  const bothLabels = new Int32Array(2 * rows).fill(nullLabel);
  bothLabels.set(batch.labels);
  return async (x, t, stepTime) => {
    const guided = guidedRows(options, stepTime, rows);
    if (!guided.includes(true)) return network(x, t, batch.labels);
    const both = new Float32Array(2 * x.length); // [2N, C, h, w]
    both.set(x);
    both.set(x, x.length);
    const out = await network(both, twice(t), bothLabels); // [2N, C', h, w]
    const half = out.length / 2;
    return extrapolate(out.subarray(0, half), out.subarray(half), guided, batch, options);
  };
}

/** Autoguidance (arXiv 2406.02507): moves away from a weaker network's prediction under the same labels. */
export function autoguidance<T extends Times>(
  network: ConditionalNetwork<T>,
  weakNetwork: ConditionalNetwork<T>,
  batch: ConditionalBatch,
  options: GuidanceOptions,
): Predictor<T> {
  return async (x, t, stepTime) => {
    const conditional = await network(x, t, batch.labels);
    const guided = guidedRows(options, stepTime, batch.labels.length);
    if (!guided.includes(true)) return conditional;
    return extrapolate(conditional, await weakNetwork(x, t, batch.labels), guided, batch, options);
  };
}

/** Of each row, whether its step is guided. */
function guidedRows({ scale, low = 0, high = 1 }: GuidanceOptions, stepTime: Times, rows: number): boolean[] {
  const isGuided = (time: number): boolean => scale > 1 && low <= time && time <= high;
  return typeof stepTime === 'number' ? new Array(rows).fill(isGuided(stepTime)) : Array.from(stepTime, isGuided);
}

/** The times of a batch that is there twice. */
const twice = <T extends Times>(t: T): T =>
  (typeof t === 'number' ? t : Float64Array.of(...(t as Float64Array), ...(t as Float64Array))) as T;

/** guide + scale (conditional - guide) in the guided channels and rows, the conditional value elsewhere; in f64. */
function extrapolate(
  conditional: Values,
  guide: Values,
  guided: readonly boolean[],
  { labels, channelSize }: ConditionalBatch,
  { scale, channels }: GuidanceOptions,
): Float64Array {
  const rowSize = conditional.length / labels.length;
  const guidedSize = Math.min(rowSize, (channels ?? Number.POSITIVE_INFINITY) * channelSize);
  const out = new Float64Array(conditional);
  for (let row = 0; row < guided.length; row++) {
    const start = row * rowSize;
    for (let i = start; guided[row] && i < start + guidedSize; i++)
      out[i] = guide[i] + scale * (conditional[i] - guide[i]);
  }
  return out;
}
