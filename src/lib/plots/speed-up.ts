/** How much sooner a run reaches the last value of another. */
import type { Point } from './run-points.js';

export interface SpeedUp {
  field: string;
  run: string;
  reference: string;
  /** The reference's last value, and where it was reached. */
  target: number;
  referenceX: number;
  /** Where the run reached it first; undefined if it never did. */
  x: number | undefined;
  /** referenceX / x. */
  factor: number | undefined;
}

/**
 * Where a curve first reaches `target`: between two points on the straight line between them.
 * @param falls whether smaller values are the better ones
 */
export function reaches(
  curve: readonly Pick<Point, 'x' | 'value'>[],
  target: number,
  falls: boolean,
): number | undefined {
  const isThere = (value: number): boolean => (falls ? value <= target : value >= target);
  const after = curve.findIndex(({ value }) => isThere(value));
  if (after < 0) return undefined;
  if (after === 0) return curve[0].x;
  const [before, next] = [curve[after - 1], curve[after]];
  return before.x + ((next.x - before.x) * (target - before.value)) / (next.value - before.value);
}

/** Compares each run with the last value of the run `reference`, in the direction in which that one changed. */
export function speedUps(curves: readonly (readonly Point[])[], reference: string): SpeedUp[] {
  return curves
    .filter(([{ run }]) => run === reference)
    .flatMap((base) => {
      const { field } = base[0];
      const last = base[base.length - 1];
      const falls = last.value <= base[0].value;
      const others = curves.filter(([point]) => point.field === field && point.run !== reference);
      return others.map((curve): SpeedUp => {
        const x = reaches(curve, last.value, falls);
        const factor = x === undefined ? undefined : last.x / x;
        return { field, run: curve[0].run, reference, target: last.value, referenceX: last.x, x, factor };
      });
    });
}

/** Where a curve first is at a value that was named. */
export interface Reach {
  field: string;
  run: string;
  /** Undefined if it never is. */
  x: number | undefined;
}

/** Each curve against `target`, in the direction in which the curve went. */
export const reachesOf = (curves: readonly (readonly Point[])[], target: number): Reach[] =>
  curves.map((curve) => {
    const { field, run, value } = curve[0];
    return { field, run, x: reaches(curve, target, curve[curve.length - 1].value <= value) };
  });
