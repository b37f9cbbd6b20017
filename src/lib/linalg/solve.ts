/** Systems of linear equations, in f64. */
import { DataError } from '../errors.js';
import type { Matrix } from './matrix-product.js';

/**
 * The x with A x = b, by elimination with partial pivoting.
 * @param a square, [n, n]
 * @param b [n]
 * @throws DataError when A has no inverse
 */
export function solve({ rows: n, data }: Matrix, b: Float64Array): Float64Array {
  const a = Float64Array.from(data);
  const x = Float64Array.from(b);
  for (let column = 0; column < n; column++) {
    const pivot = largestBelow(a, n, column);
    if (a[pivot * n + column] === 0) throw new DataError('a system of equations has no single solution');
    swapRows(a, x, n, column, pivot);
    for (let row = column + 1; row < n; row++) {
      const factor = a[row * n + column] / a[column * n + column];
      for (let i = column; i < n; i++) a[row * n + i] -= factor * a[column * n + i];
      x[row] -= factor * x[column];
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let i = row + 1; i < n; i++) x[row] -= a[row * n + i] * x[i];
    x[row] /= a[row * n + row];
  }
  return x;
}

/** The row, from the diagonal down, whose element of a column is the largest. */
function largestBelow(a: Float64Array, n: number, column: number): number {
  let largest = column;
  for (let row = column + 1; row < n; row++) {
    if (Math.abs(a[row * n + column]) > Math.abs(a[largest * n + column])) largest = row;
  }
  return largest;
}

function swapRows(a: Float64Array, x: Float64Array, n: number, first: number, second: number): void {
  if (first === second) return;
  const row = a.slice(first * n, (first + 1) * n);
  a.copyWithin(first * n, second * n, (second + 1) * n);
  a.set(row, second * n);
  [x[first], x[second]] = [x[second], x[first]];
}
