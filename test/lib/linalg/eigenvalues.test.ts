import assert from 'node:assert/strict';
import { test } from 'node:test';
import { symmetricEigenvalues } from '../../../src/lib/linalg/eigenvalues.js';
import { fillNormal } from '../../../src/lib/numbers/random.js';

/** The symmetric matrix with the given eigenvalues: a diagonal under `n` random reflections. */
function matrixWithSpectrum(eigenvalues: Float64Array): Float64Array {
  const n = eigenvalues.length;
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) a[i * n + i] = eigenvalues[i];
  const v = new Float64Array(n);
  for (let reflection = 0; reflection < 3; reflection++) {
    fillNormal(v, 1, 1, n, reflection);
    const h = v.reduce((sum, x) => sum + x * x, 0) / 2;
    // A <- (I - v v'/h) A (I - v v'/h)
    const p = Float64Array.from(v, (_, i) => v.reduce((sum, x, k) => sum + a[i * n + k] * x, 0) / h);
    const half = v.reduce((sum, x, k) => sum + x * p[k], 0) / (2 * h);
    for (let i = 0; i < n; i++) p[i] = p[i] - half * v[i];
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < n; k++) a[i * n + k] = a[i * n + k] - v[i] * p[k] - p[i] * v[k];
    }
  }
  return a;
}

function assertSpectrum(matrix: Float64Array, expected: Float64Array, what: string): void {
  const found = symmetricEigenvalues(matrix, expected.length).sort();
  const scale = Math.max(...expected.map(Math.abs), 1e-300);
  for (const [i, value] of expected.toSorted().entries()) {
    assert.ok(
      Math.abs(found[i] - value) <= 1e-13 * scale * Math.sqrt(expected.length),
      `${what}: ${found[i]} for ${value}`,
    );
  }
}

test('recovers a known spectrum at every small size, even and odd', () => {
  for (let n = 1; n <= 17; n++) {
    const spectrum = Float64Array.from({ length: n }, (_, i) => (i - n / 3) ** 3);
    assertSpectrum(matrixWithSpectrum(spectrum), spectrum, `n = ${n}`);
  }
});

test('recovers spectra that span magnitudes, repeat, vanish or are tiny', () => {
  const n = 120;
  const spectra: Record<string, Float64Array> = {
    decaying: Float64Array.from({ length: n }, (_, i) => 10 ** (-i / 8)),
    repeated: Float64Array.from({ length: n }, (_, i) => i % 3),
    deficient: Float64Array.from({ length: n }, (_, i) => Math.max(0, i - 100)),
    zero: new Float64Array(n),
    tiny: Float64Array.from({ length: n }, (_, i) => i * 1e-250),
    huge: Float64Array.from({ length: n }, (_, i) => i * 1e200),
  };
  for (const [name, spectrum] of Object.entries(spectra)) assertSpectrum(matrixWithSpectrum(spectrum), spectrum, name);
});

test('a diagonal matrix and one that is tridiagonal already are left as they are', () => {
  const n = 9;
  const diagonal = new Float64Array(n * n);
  const laplacian = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    diagonal[i * n + i] = i + 1;
    laplacian[i * n + i] = 2;
    if (i > 0) laplacian[i * n + i - 1] = -1;
  }
  assert.deepEqual([...symmetricEigenvalues(diagonal, n)].sort(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const expected = Float64Array.from({ length: n }, (_, i) => 2 - 2 * Math.cos(((i + 1) * Math.PI) / (n + 1)));
  assertSpectrum(laplacian, expected, 'second difference');
});

test('reads the lower triangle only and leaves the matrix alone', () => {
  const matrix = Float64Array.of(2, Number.NaN, 1, 2);
  assertSpectrum(matrix, Float64Array.of(1, 3), 'lower triangle');
  assert.deepEqual(matrix, Float64Array.of(2, Number.NaN, 1, 2));
});
