import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { floatFromHalf } from '../../../src/lib/numbers/half.js';
import { firstNotFinite } from '../../../src/lib/stream/finite.js';

describe('firstNotFinite', () => {
  it('agrees with isFinite on every half, wherever it lies', () => {
    for (let bits = 0; bits < 2 ** 16; bits++) {
      const halves = Uint16Array.of(0x7bff, bits, 0xfbff, bits, bits);
      const finite = Number.isFinite(floatFromHalf(halves.subarray(1, 2))[0]);
      assert.equal(firstNotFinite(halves), finite ? -1 : 1);
      assert.equal(firstNotFinite(halves.subarray(1, 2)), finite ? -1 : 0);
      assert.equal(firstNotFinite(halves.subarray(2)), finite ? -1 : 1);
    }
  });

  it('agrees with isFinite on any singles, over several blocks', () => {
    fc.assert(
      fc.property(fc.array(fc.float(), { maxLength: 9 }), fc.nat(9000), fc.nat(9000), (floats, before, after) => {
        const values = new Float32Array(before + floats.length + after).fill(-3.4e38);
        values.set(floats, before);
        assert.equal(
          firstNotFinite(values),
          values.findIndex((value) => !Number.isFinite(value)),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('takes integers as finite', () => {
    assert.equal(firstNotFinite(Uint8Array.of(255)), -1);
    assert.equal(firstNotFinite(Int8Array.of(-128)), -1);
  });
});
