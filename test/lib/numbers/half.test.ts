import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { floatFromHalf, halfFromFloat } from '../../../src/lib/numbers/half.js';

const toHalf = (value: number): number => halfFromFloat(Float32Array.of(value))[0];

/** The value of f16 bits by the definition of the format, in f64. */
function halfValue(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const mantissa = half & 1023;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

describe('half', () => {
  it('widens all 65,536 values exactly and narrows them back to the same bits', () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = floatFromHalf(all);
    const back = halfFromFloat(wide);
    for (let half = 0; half < 65536; half++) {
      assert.ok(Object.is(wide[half], halfValue(half)), `0x${half.toString(16)} became ${wide[half]}`);
      const notANumber = (half & 0x7c00) === 0x7c00 && (half & 1023) !== 0;
      if (notANumber) assert.equal(back[half] & 0x7fff, 0x7e00);
      else assert.equal(back[half], half);
    }
  });

  it('rounds every midpoint between neighbours to the even one, and each side of it to the nearer one', () => {
    const below = new Float32Array(1);
    const bits = new Uint32Array(below.buffer);
    for (let half = 0; half < 0x7c00; half++) {
      const next = half === 0x7bff ? 65536 : halfValue(half + 1);
      const midpoint = (halfValue(half) + next) / 2; // exact in f32: one more bit than f16 holds
      assert.equal(toHalf(midpoint), half & 1 ? half + 1 : half, `midpoint ${midpoint}`);
      below[0] = midpoint;
      bits[0] -= 1;
      assert.equal(toHalf(below[0]), half);
      bits[0] += 2;
      assert.equal(toHalf(below[0]), half + 1);
      assert.equal(toHalf(-midpoint), 0x8000 | (half & 1 ? half + 1 : half));
    }
  });

  it('keeps infinities, NaN and signed zeros', () => {
    assert.equal(toHalf(Number.POSITIVE_INFINITY), 0x7c00);
    assert.equal(toHalf(Number.NEGATIVE_INFINITY), 0xfc00);
    assert.equal(toHalf(3e38), 0x7c00);
    assert.equal(toHalf(Number.NaN) & 0x7fff, 0x7e00);
    assert.equal(toHalf(0), 0);
    assert.equal(toHalf(-0), 0x8000);
    assert.equal(toHalf(1e-45), 0);
  });

  it('errs by at most half a unit in the last place', () => {
    fc.assert(
      fc.property(fc.float({ min: -65504, max: 65504, noNaN: true }), (value) => {
        const got = floatFromHalf(Uint16Array.of(toHalf(value)))[0];
        const unit = Math.max(2 ** -24, 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10));
        assert.ok(Math.abs(got - value) <= unit / 2);
      }),
    );
  });

  it('reads views at an offset and writes where it is told', () => {
    const source = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
    const out = new Uint16Array(4);
    assert.equal(halfFromFloat(source, out.subarray(2))[0], 0x3c00);
    assert.deepEqual([...out], [0, 0, 0x3c00, 0x4000]);
  });
});
