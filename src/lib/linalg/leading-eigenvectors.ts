/** The eigenvectors of the largest eigenvalues alone, of a large symmetric matrix. */
import { fillNormal, PURPOSE } from '../numbers/random.js';
import { type Matrix, matrixProduct } from './matrix-product.js';

/** More vectors than are wanted make the wanted ones converge sooner. */
const SPARE_VECTORS = 8;
const MOST_ITERATIONS = 500;

/**
 * The eigenvectors of the `count` largest eigenvalues of a symmetric matrix without negative ones, by orthogonal
 * iteration: those rows [count, D], and the eigenvalues.
 */
export function leadingEigenvectors(
  matrix: Matrix,
  count: number,
  seed: number,
): { vectors: Float64Array; values: Float64Array } {
  const dim = matrix.rows;
  const columns = Math.min(dim, count + SPARE_VECTORS);
  let vectors = new Float64Array(columns * dim); // [K, D]
  for (let k = 0; k < columns; k++) fillNormal(vectors.subarray(k * dim, (k + 1) * dim), seed, PURPOSE.components, k);
  let values: Float64Array = new Float64Array(columns);
  for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    const { data } = matrixProduct({ rows: columns, columns: dim, data: vectors }, matrix); // symmetric: A v = v^T A
    const lengths = orthonormalise(data, dim);
    const moved = lengths.reduce((most, each, k) => (k < count ? Math.max(most, Math.abs(each - values[k])) : most), 0);
    vectors = data as Float64Array<ArrayBuffer>;
    values = lengths;
    if (moved <= 1e-12 * lengths[0]) break;
  }
  return { vectors, values };
}

/** Makes rows orthonormal in their order (Gram and Schmidt, twice, for precision); returns their lengths on the way. */
function orthonormalise(rows: Float64Array, dim: number): Float64Array {
  const count = rows.length / dim;
  const lengths = new Float64Array(count);
  const row = (k: number): Float64Array => rows.subarray(k * dim, (k + 1) * dim);
  const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, each, i) => sum + each * b[i], 0);
  for (let k = 0; k < count; k++) {
    const own = row(k);
    for (const _ of [1, 2]) {
      for (let j = 0; j < k; j++) {
        const share = dot(own, row(j));
        const other = row(j);
        for (let i = 0; i < dim; i++) own[i] -= share * other[i];
      }
    }
    lengths[k] = Math.sqrt(dot(own, own));
    if (lengths[k] > 0) for (let i = 0; i < dim; i++) own[i] /= lengths[k];
  }
  return lengths;
}
