/** Numbers of runs' logs against steps, time or images, as points of curves. */
import { DataError } from '../errors.js';
import { RunLog } from '../runs/run-log.js';
import { trainingTime } from '../runs/training-time.js';

/** The x axis of a curve. */
export type Axis = 'step' | 'seconds' | 'images';

export interface Point {
  run: string;
  field: string;
  x: number;
  value: number;
}

type Entry = Readonly<Record<string, unknown>>;

/** All lines of an NDJSON log. @throws DataError naming one that is no JSON object */
export const readEntries = (file: string): Entry[] => new RunLog(file).grown().lines;

export interface RunSource {
  /** The log. */
  path: string;
  name: string;
  /** Its lines. */
  lines: readonly Entry[];
  /** Images of a step; needed for `images` only. */
  batchSize?: number;
}

/**
 * The chosen fields of a log.
 * @throws DataError when a field is in none of its lines
 */
export function readPoints(source: RunSource, fields: readonly string[], axis: Axis): Point[] {
  const { path, name: run, lines, batchSize } = source;
  const secondsAt = trainingTime(lines);
  const along: Record<Axis, (step: number) => number> = {
    step: (step) => step,
    seconds: secondsAt,
    images: (step) => step * batchSize!,
  };
  const points = lines.flatMap((entry) =>
    fields.flatMap((field): Point[] => {
      const value = entry[field];
      const { step } = entry;
      if (typeof value !== 'number' || typeof step !== 'number') return [];
      return [{ run, field, x: along[axis](step), value }];
    }),
  );
  for (const field of fields) {
    if (points.some((point) => point.field === field)) continue;
    throw new DataError(`${path}: no line has a number '${field}'`, 'repa plot --field takes the names in the log.');
  }
  return points;
}

/** Points of each curve: of one run and one field. */
export function curvesOf<P extends Point>(points: readonly P[]): P[][] {
  const curves = new Map<string, P[]>();
  for (const point of points) {
    const name = `${point.run}\n${point.field}`;
    const curve = curves.get(name);
    if (curve) curve.push(point);
    else curves.set(name, [point]);
  }
  return [...curves.values()];
}

/** Centred moving average over `window` points of each curve; the ends average what is there. */
export const smooth = (points: readonly Point[], window: number): Point[] =>
  curvesOf(points).flatMap((curve) =>
    curve.map((point, i) => {
      const near = curve.slice(Math.max(0, i - Math.floor(window / 2)), i + Math.ceil(window / 2));
      return { ...point, value: near.reduce((sum, { value }) => sum + value, 0) / near.length };
    }),
  );

/** The mean of several runs at one x, and their spread. */
export interface Band extends Point {
  low: number;
  high: number;
  /** How many runs. */
  runs: number;
}

/** What a run is called without the number at its end: `repa-seed2` is one of `repa-seed`. */
export const withoutSeed = (run: string): string => run.replace(/[-_.]?(s|seed)?[-_]?\d+$/, '') || run;

/** Runs whose names differ in the number at their end, as one curve: at each x where all of them were measured. */
export function bands(points: readonly Point[]): Band[] {
  const groups = new Map<string, Map<number, Point[]>>();
  const members = new Map<string, Set<string>>();
  for (const point of points) {
    const group = `${withoutSeed(point.run)}\n${point.field}`;
    const at = groups.get(group) ?? new Map<number, Point[]>();
    groups.set(group, at.set(point.x, [...(at.get(point.x) ?? []), point]));
    members.set(group, (members.get(group) ?? new Set()).add(point.run));
  }
  return [...groups].flatMap(([group, at]) => {
    const runs = members.get(group)!.size;
    const [run, field] = group.split('\n');
    return [...at]
      .filter(([, here]) => here.length === runs)
      .map(([x, here]): Band => {
        const values = here.map(({ value }) => value);
        const value = values.reduce((sum, each) => sum + each, 0) / runs;
        return { run, field, x, value, low: Math.min(...values), high: Math.max(...values), runs };
      });
  });
}
