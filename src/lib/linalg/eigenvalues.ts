/**
 * Eigenvalues of a real symmetric matrix: Householder tridiagonalisation, then implicit QL (Golub and Van Loan, chapter
 * 8).
 */
import { readFileSync } from 'node:fs';

/** One pass over a matrix in `memory`; see tridiagonal.wat. */
type UpdateAndMultiply = (a: number, stride: number, rows: number, u: number, w: number, v: number, p: number) => void;

const PAGE = 65536;
const F64 = Float64Array.BYTES_PER_ELEMENT;

let kernel: WebAssembly.Module | undefined;

/**
 * All eigenvalues of the symmetric n x n `matrix` (row-major; only the lower triangle is read), in no particular order.
 * Takes about n^3 / 7e9 seconds, and a copy of the matrix.
 */
export function symmetricEigenvalues(matrix: Float64Array, n: number): Float64Array {
  return tridiagonalEigenvalues(tridiagonalise(matrix, n));
}

interface Tridiagonal {
  diagonal: Float64Array;
  /** Element i lies between rows i and i + 1; the last one is 0. */
  offDiagonal: Float64Array;
}

/**
 * Annihilates the rows from the last to the second by reflections I - v v' / h. The rank-2 update that a reflection
 * makes is applied together with the next one's product A v, so each step reads the matrix once.
 */
function tridiagonalise(matrix: Float64Array, n: number): Tridiagonal {
  // One spare element behind each vector: the kernel takes rows in pairs.
  const vectorBytes = (n + 1) * F64;
  const matrixBytes = n * n * F64;
  const pages = Math.ceil((matrixBytes + 4 * vectorBytes) / PAGE);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const updateAndMultiply = instantiate(memory);
  const a = new Float64Array(memory.buffer, 0, n * n);
  a.set(matrix);
  const vector = (index: number) => new Float64Array(memory.buffer, matrixBytes + index * vectorBytes, n + 1);
  let [u, w, v, p] = [vector(0), vector(1), vector(2), vector(3)];

  const diagonal = new Float64Array(n);
  const offDiagonal = new Float64Array(n);
  for (let i = n - 1; i > 0; i--) {
    const row = a.subarray(i * n, i * n + i + 1);
    for (let k = 0; k <= i; k++) row[k] = row[k] - u[i] * w[k] - w[i] * u[k];
    diagonal[i] = row[i];
    const { h, head } = reflection(row.subarray(0, i), v);
    offDiagonal[i - 1] = head;
    updateAndMultiply(a.byteOffset, n * F64, i, u.byteOffset, w.byteOffset, v.byteOffset, p.byteOffset);
    secondVector(p, v, h, i);
    [u, w, v, p] = [v, p, u, w];
  }
  diagonal[0] = a[0] - 2 * u[0] * w[0];
  return { diagonal, offDiagonal };
}

function instantiate(memory: WebAssembly.Memory): UpdateAndMultiply {
  kernel ??= new WebAssembly.Module(readFileSync(new URL('./tridiagonal.wasm', import.meta.url)));
  const { exports } = new WebAssembly.Instance(kernel, { host: { memory } });
  return exports.updateAndMultiply as UpdateAndMultiply;
}

/**
 * Writes to `v` the vector whose reflection I - v v' / h maps `x` to a multiple of the last unit vector, and returns
 * that multiple as `head`. When x has that form already, v is 0 and h is 1.
 */
function reflection(x: Float64Array, v: Float64Array): { h: number; head: number } {
  const last = x.length - 1;
  let scale = 0;
  for (let k = 0; k < last; k++) scale += Math.abs(x[k]);
  v.fill(0);
  if (scale === 0) return { h: 1, head: x[last] };
  scale += Math.abs(x[last]);
  let sum = 0;
  for (let k = 0; k <= last; k++) {
    v[k] = x[k] / scale;
    sum += v[k] * v[k];
  }
  // The sign that does not cancel.
  const head = v[last] >= 0 ? -Math.sqrt(sum) : Math.sqrt(sum);
  const h = sum - v[last] * head;
  v[last] = v[last] - head;
  return { h, head: scale * head };
}

/** Turns p = A v into w = p/h - v (v'p) / (2 h^2), with which the reflected matrix is A - v w' - w v'. */
function secondVector(p: Float64Array, v: Float64Array, h: number, length: number): void {
  let product = 0;
  for (let k = 0; k < length; k++) product += v[k] * p[k];
  const half = product / (2 * h * h);
  for (let k = 0; k < length; k++) p[k] = p[k] / h - half * v[k];
}

/** Eigenvalues of a symmetric tridiagonal matrix by QL with Wilkinson's shift. */
function tridiagonalEigenvalues({ diagonal, offDiagonal }: Tridiagonal): Float64Array {
  // The rotations square the elements, so these must lie well within the range of f64.
  const scale = diagonal.reduce((largest, value, i) => Math.max(largest, Math.abs(value), Math.abs(offDiagonal[i])), 0);
  if (scale === 0) return diagonal;
  const d = diagonal.map((value) => value / scale);
  const e = offDiagonal.map((value) => value / scale);
  for (let l = 0; l < d.length; l++) {
    for (let m = endOfBlock(d, e, l); m > l; m = endOfBlock(d, e, l)) sweep(d, e, l, m);
  }
  return d.map((value) => value * scale);
}

/** The first row at or after l that is not coupled to its next. */
function endOfBlock(d: Float64Array, e: Float64Array, l: number): number {
  let m = l;
  while (m < d.length - 1 && Math.abs(e[m]) > Number.EPSILON * (Math.abs(d[m]) + Math.abs(d[m + 1]))) m++;
  return m;
}

/** One implicit QL step on rows l..m: chases the bulge from m up to l by plane rotations. */
function sweep(d: Float64Array, e: Float64Array, l: number, m: number): void {
  const half = (d[l + 1] - d[l]) / (2 * e[l]);
  const root = Math.sqrt(half * half + 1);
  let g = d[m] - d[l] + e[l] / (half + (half >= 0 ? root : -root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = m - 1; i >= l; i--) {
    const f = sine * e[i];
    const b = cosine * e[i];
    const r = Math.sqrt(f * f + g * g);
    e[i + 1] = r;
    if (r === 0) {
      // The matrix splits here.
      d[i + 1] = d[i + 1] - shift;
      e[m] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1] - shift;
    const s = (d[i] - g) * sine + 2 * cosine * b;
    shift = sine * s;
    d[i + 1] = g + shift;
    g = cosine * s - b;
  }
  d[l] = d[l] - shift;
  e[l] = g;
  e[m] = 0;
}
