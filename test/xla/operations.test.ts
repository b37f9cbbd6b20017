import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OPERATION_NAMES } from '../../src/lib/engine/graph/operations.js';
import { ARRAYS } from '../../src/lib/engine/graph/value.js';
import { OnnxTarget } from '../../src/lib/engine/onnx/target.js';
import { Client } from '../../src/lib/engine/xla/client.js';
import { ProgramCache } from '../../src/lib/engine/xla/program-cache.js';
import { DeviceCopies } from '../../src/lib/engine/xla/residency.js';
import { XlaTarget } from '../../src/lib/engine/xla/target.js';
import { sizeOf, type TypedArray } from '../../src/lib/numbers/typed-array.js';
import { SAMPLES } from '../lib/engine/operation-samples.js';
import { assertClose, largestMagnitude } from '../tensors.js';
import { testPlugin } from './support.js';

const client = new Client(testPlugin());
const programs = new ProgramCache(client, null);
const copies = new DeviceCopies(client);
const onnx = new OnnxTarget(1);
/** Largest error by precision, of what is about 1. */
const TOLERANCES = { f32: 1e-6, bf16: 2e-2 } as const; // bf16: operands to 2^-9, in sums of up to 36 products

const finite = (array: TypedArray) => Float64Array.from(array as Float32Array, (v) => (Number.isFinite(v) ? v : 0));

describe('an operation on XLA computes what it does on ONNX Runtime', () => {
  for (const name of OPERATION_NAMES) {
    test(name, () => {
      const wanted = SAMPLES[name]();
      const expected = onnx.evaluate(wanted);
      for (const [products, tolerance] of Object.entries(TOLERANCES)) {
        new XlaTarget(copies, programs, products as 'f32').evaluate(wanted).forEach((actual, i) => {
          const { dtype, shape } = wanted[i];
          assert.ok(actual instanceof ARRAYS[dtype]);
          assert.equal(actual.length, sizeOf(shape));
          const scale = Math.max(1, largestMagnitude(finite(expected[i])));
          assertClose(finite(actual), finite(expected[i]), tolerance * scale, `${name}, output ${i}, ${products}`);
        });
      }
    });
  }
});
