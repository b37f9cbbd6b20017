/** Curves out of the lines of logs. */
import type { Facts, LogLine } from '../lib/runs/run-view.js';
import { trainingTime } from '../lib/runs/training-time.js';

/** The unit of the horizontal axis. */
export type XAxis = 'step' | 'seconds' | 'images';

export interface Curve {
  x: number[];
  y: number[];
}

/** Numbers of a line that are no curves of their own. */
const PLACES = new Set(['step', 'epoch']);
const PROTOCOL = new Set([
  'count',
  'images',
  'reference_count',
  'image_size',
  'block',
  'time',
  'k',
  'probe_k',
  'val_num',
  'rows',
]);

/** Names of the curves that the lines hold, in the order in which they come. */
export function fieldsOf(lines: readonly LogLine[]): string[] {
  const names = new Set<string>();
  for (const line of lines) {
    const measured = 'evaluation' in line;
    for (const [name, value] of Object.entries(line)) {
      if (typeof value === 'number' && !PLACES.has(name) && !(measured && PROTOCOL.has(name))) names.add(name);
    }
  }
  return [...names];
}

/** Images of one step; undefined where the configuration does not tell. */
export function batchSizeOf(config: Facts | null): number | undefined {
  const { batchSize } = (config?.training ?? {}) as { batchSize?: unknown };
  return typeof batchSize === 'number' ? batchSize : undefined;
}

/**
 * Where each step lies on the axis.
 * @returns undefined where the run does not tell
 */
export function placesOf(
  lines: readonly LogLine[],
  axis: XAxis,
  batchSize: number | undefined,
): ((step: number) => number) | undefined {
  if (axis === 'step') return (step) => step;
  if (axis === 'images') return batchSize === undefined ? undefined : (step) => step * batchSize;
  return lines.some(({ step }) => typeof step === 'number') ? trainingTime(lines) : undefined;
}

/** One field of a log against the axis. */
export function curveOf(lines: readonly LogLine[], field: string, placeOf: (step: number) => number): Curve {
  const curve: Curve = { x: [], y: [] };
  for (const line of lines) {
    const value = line[field];
    if (typeof value !== 'number' || typeof line.step !== 'number') continue;
    const x = placeOf(line.step);
    if (!Number.isFinite(x)) continue;
    curve.x.push(x);
    curve.y.push(value);
  }
  return curve;
}

/**
 * An exponential moving average without the bias of its start: sum of w^(i-j) y_j over that of the weights, j <= i.
 * @param weight w of [0, 1); 0 leaves the curve as it is
 */
export function smoothed(values: readonly number[], weight: number): number[] {
  let sum = 0;
  let weights = 0;
  return values.map((value) => {
    sum = weight * sum + value;
    weights = weight * weights + 1;
    return sum / weights;
  });
}

/** A number measured at a block and a time of a network, by the name of its column, such as `hidden.b3.t0.5`. */
export interface BlockMeasure {
  /** The measure, and what it was measured on. */
  name: string;
  block: number;
  time: number;
  value: number;
}

const HIDDEN_COLUMN = /\bb(\d+)\.t(\d+(?:\.\d+)?)(?: ~ (.*))?$/;

/** The results that were measured at blocks. */
export function blockMeasures(results: readonly Facts[]): BlockMeasure[] {
  return results.flatMap(({ metric, column, value, accuracy }) => {
    const found = HIDDEN_COLUMN.exec(String(column));
    const number = value ?? accuracy;
    if (!found || typeof number !== 'number') return [];
    const [, block, time, other] = found;
    return [
      { name: `${metric}${other ? ` with ${other}` : ''}`, block: Number(block), time: Number(time), value: number },
    ];
  });
}
