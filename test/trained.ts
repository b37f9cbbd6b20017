/** How far parameters may end apart that were trained alike. */
import assert from 'node:assert/strict';

/**
 * Adam divides by the root of the second moment: where a gradient is zero but for rounding, its steps are noise. That
 * is so for the biases of all keys, which shift every logit of a row alike; elsewhere for one entry in a thousand.
 */
export function assertAlmostAllClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  name: string,
  what: string,
): void {
  const third = expected.length / 3;
  const isKeyBias = (i: number): boolean =>
    name.endsWith('k_norm.bias') || (name.endsWith('qkv.bias') && i >= third && i < 2 * third);
  const far = Array.from(expected, (value, i) => !isKeyBias(i) && !(Math.abs(actual[i] - value) <= 2e-6));
  const count = far.filter(Boolean).length;
  assert.ok(count <= 1e-3 * expected.length, `${what} of ${name}: ${count} are further off than 2e-6`);
}
