/** A sampler as a value: its options, what they are when not given, how it samples, and what a header tells of it. */
import { integer, number } from '../../options/option.js';
import type { Values as OptionValues, Table } from '../../options/table.js';
import type { Predictor, TimedPredictor, Times, Values } from '../guidance.js';
import type { TrainingPath } from '../interpolant.js';
import type { Space } from '../space.js';

/** What a network was trained to predict: the velocity, or the noise of DDPM's steps. */
export type Architecture = 'SiT' | 'DiT';

/** What a sampler takes from the training of the network. */
export interface Trained {
  path: TrainingPath;
  /** How much closer to the noise its times were drawn; 1 is evenly. */
  timeShift: number;
}

/** The start of a batch. */
export interface Start {
  states: Float32Array; // [N, S]
  rows: number;
  /** Numbers of a channel of one row's latent, h * w. */
  channelSize: number;
  /** Fills `out` with standard normals for one row of the batch at one step. */
  noise: (out: Float64Array, row: number, step: number) => void;
}

/** What the sampler writes into the entry `repa.sampler` of a stream's header. */
export type Described = Readonly<Record<string, unknown>>;

export interface Sampler<T extends Table, Settings> {
  readonly name: string;
  readonly of: Architecture;
  /** The path that it is for; by default every other path. */
  readonly path?: 'geodesic';
  /** The --mode that it belongs to. */
  readonly mode: string;
  /** The values of --solver that choose it among the samplers of its mode. */
  readonly solvers?: readonly string[];
  /** Its name in messages. */
  readonly words: string;
  /** What follows its name in the message about an option that it does not have. */
  readonly remark?: string;
  readonly options: T;
  /** The values of options that are not given. */
  defaults(trained: Trained): Settings;
  /** @throws UsageError for settings that do not go together */
  check?(settings: Settings): void;
  /** @returns samples, [N, S] */
  sample<State, Input>(
    predict: TimedPredictor<State, Input>,
    start: Start,
    settings: Settings,
    space: Space<State, Input>,
  ): Promise<Values>;
  describe(settings: Settings): Described;
  /** In what a described sampling differs from those of published numbers, one sentence each. */
  published(described: Described): string[];
}

/** Declares a sampler; settings have the names of the options that set them. */
export const sampler = <const T extends Table, Settings extends Record<string, unknown>>(
  value: Sampler<T, Settings> & (OptionValues<T> extends Partial<Settings> ? unknown : never),
): Sampler<T, Settings> => value;

/** Steps of published numbers. */
const PUBLISHED_STEPS = 250;

/** @returns a sentence on another number of steps than that of published numbers */
export const stepsNote = ({ steps }: Described): string[] =>
  typeof steps === 'number' && steps !== PUBLISHED_STEPS
    ? [`the sampler took ${steps} steps; published numbers are of ${PUBLISHED_STEPS}`]
    : [];

/** @returns a sentence on steps that are shifted */
export const shiftNote = ({ time_shift }: Described): string[] =>
  time_shift === undefined ? [] : ['the steps of the sampler are shifted; those of published numbers are even'];

/** The entry of a header for a time shift; none for a shift of 1. */
export const describeShift = (shift: number): Described => (shift === 1 ? {} : { time_shift: shift });

export const STEPS = integer('--steps <n>', 'steps of the sampler', { min: 1, defaultText: '50, of a DiT 250' });

export const TIME_SHIFT = number(
  '--time-shift <s>',
  'move the steps towards the noise: t becomes s t / (1 + (s - 1) t)',
  { min: 0.01, max: 100, defaultText: 'as in training, else 1, evenly spaced' },
);

/**
 * A predictor for samplers whose steps are not sums, and whose states therefore lie in the host's memory: each state is
 * sent to where the network computes, and the prediction comes back.
 */
export const onHost =
  <T extends Times, State, Input>(
    predict: Predictor<T, State, Input>,
    space: Space<State, Input>,
    rows: number,
  ): Predictor<T> =>
  async (x, t, stepTime) => {
    const predicted = await space.read(await predict(space.single(space.from(x, rows)), t, stepTime));
    space.keep();
    return predicted;
  };
