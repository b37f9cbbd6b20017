import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { firstNonFinite } from '../../../src/lib/numbers/finite.js';
import { floatFromHalf } from '../../../src/lib/numbers/half.js';

describe('firstNonFinite', () => {
  it('agrees with isFinite on every half, wherever it lies', () => {
    for (let bits = 0; bits < 2 ** 16; bits++) {
      const halves = Uint16Array.of(0x7bff, bits, 0xfbff, bits, bits);
      const finite = Number.isFinite(floatFromHalf(halves.subarray(1, 2))[0]);
      assert.equal(firstNonFinite(halves), finite ? -1 : 1);
      assert.equal(firstNonFinite(halves.subarray(1, 2)), finite ? -1 : 0);
      assert.equal(firstNonFinite(halves.subarray(2)), finite ? -1 : 1);
    }
  });

  it('agrees with isFinite on any singles, over several blocks', () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { maxLength: 9 }), fc.nat(9000), fc.nat(9000), (floats, before, after) => {
        const values = new Float32Array(before + floats.length + after).fill(-3.4e38);
        values.set(floats, before);
        assert.equal(
          firstNonFinite(values),
          values.findIndex((value) => !Number.isFinite(value)),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('takes integers as finite', () => {
    assert.equal(firstNonFinite(Uint8Array.of(255)), -1);
    assert.equal(firstNonFinite(Int8Array.of(-128)), -1);
  });
});
