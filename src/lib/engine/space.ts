/** Where the states of samplers lie, and the arithmetic on them. */

/** Numbers in the host's memory: a state, or what a network makes of one. */
export type Values = Float32Array | Float64Array;

export type MaybePromise<T> = T | Promise<T>;

/** What a term of a sum counts: the same in all rows, or in each as much as it says (one number is of all, too). */
export type Weight = number | Float64Array;

/**
 * States are rows [N, S] of f64: `State` is what such rows are here, or what a network gives of them; `Input` is what
 * networks take. A sampler is written over a space, so that its states may stay on a device from the first step to the
 * last.
 */
export interface Space<State, Input> {
  /** Rows of the host's numbers. */
  from(values: Values, rows: number): State;
  /** Rounded to f32. */
  single(state: State): Input;
  /** The sum of weights[k] terms[k], added from the left. */
  combine(weights: readonly Weight[], terms: readonly State[]): State;
  /** The rows of `a` that are marked, and those of `b` that are not; one mark is of all rows. */
  choose(marked: readonly boolean[], a: State, b: State): State;
  /**
   * Of each of `rows` parts the root of the mean square of values / (absolute + relative max(|a|, |b|)), where `sizes`
   * are a and b.
   */
  ratios(
    values: State,
    sizes: readonly [State, State],
    tolerance: { absolute: number; relative: number },
    rows: number,
  ): MaybePromise<Float64Array>;
  /** All rows, and all once more. */
  twice(x: Input): Input;
  /** What a network makes of rows that are there twice: of the first, and of the second. */
  halves(x: State): [State, State];
  /** How many numbers a row has. */
  sizeOf(x: State, rows: number): number;
  /** Of each row the numbers from `start` to `end`. */
  columns(x: State, start: number, end: number, rows: number): State;
  /** The columns of all parts, side by side. */
  join(parts: readonly State[], rows: number): State;
  /** Waits until they are computed. */
  read(x: State): MaybePromise<Float64Array>;
  /** Lets go of all that was made here, but for these. */
  keep(...states: readonly State[]): void;
}
