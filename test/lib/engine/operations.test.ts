import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OPERATION_NAMES } from '../../../src/lib/engine/graph/operations.js';
import { ARRAYS, type Value } from '../../../src/lib/engine/graph/value.js';
import { lower, RULES } from '../../../src/lib/engine/onnx/lower/index.js';
import { CPU_LOWERING, type Lowering, WEBGPU_LOWERING } from '../../../src/lib/engine/onnx/lower/lowering.js';
import { SessionCache } from '../../../src/lib/engine/onnx/session-cache.js';
import type { TypedArray } from '../../../src/lib/numbers/typed-array.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { assertClose, largestMagnitude } from '../../tensors.js';
import { SAMPLES } from './operation-samples.js';

const sessions = new SessionCache(4);

function compute(wanted: readonly Value[], lowering: Lowering): TypedArray[] {
  const { graph, feeds } = lower(wanted, lowering, () => false);
  return sessions.get(graph, 1).run(feeds.map(({ data }) => data!));
}

/** The node types of what `wanted` is lowered to. */
const nodeTypes = (wanted: readonly Value[], lowering: Lowering): Set<string> =>
  new Set(lower(wanted, lowering, () => false).graph.nodes.map(({ type }) => type));

/** As if all tensors were above the largest binding. */
const SPLIT: Lowering = { ...WEBGPU_LOWERING, bindingBytes: 0 };
const HALF: Lowering = { ...WEBGPU_LOWERING, products: 'float16' };

/** Numbers of which some may be infinite or none at all: these have to be the same. */
function assertAgree(actual: TypedArray, expected: TypedArray, tolerance: number, what: string): void {
  const finite = (array: TypedArray) => Float64Array.from(array as Float32Array, (v) => (Number.isFinite(v) ? v : 0));
  const scale = Math.max(1, largestMagnitude(finite(expected)));
  assertClose(finite(actual), finite(expected), tolerance * scale, what);
  expected.forEach((value, i) => {
    if (!Number.isFinite(Number(value))) assert.equal(actual[i], value, what);
  });
}

describe('the operations of a recorded graph', () => {
  test('are lowered to ONNX, all of them and no others', () => {
    assert.deepEqual(Object.keys(RULES).sort(), [...OPERATION_NAMES].sort());
    assert.deepEqual(Object.keys(SAMPLES).sort(), [...OPERATION_NAMES].sort());
  });

  for (const name of OPERATION_NAMES) {
    test(`${name}: each lowering computes the same, in the shapes that were recorded`, () => {
      const wanted = SAMPLES[name]();
      const expected = compute(wanted, CPU_LOWERING);
      const isRefused = name === 'argument' || name === 'topK';
      if (isRefused) assert.throws(() => compute(wanted, SPLIT), /exceeds one buffer/);
      for (const [lowering, tolerance] of [
        [WEBGPU_LOWERING, 1e-6],
        ...(isRefused ? [] : [[SPLIT, 1e-6] as const]),
        [HALF, 4e-3],
      ] as const) {
        compute(wanted, lowering).forEach((actual, i) => {
          const { dtype, shape } = wanted[i];
          assert.ok(actual instanceof ARRAYS[dtype]);
          assert.equal(actual.length, sizeOf(shape));
          assertAgree(actual, expected[i], tolerance, `${name}, output ${i}`);
        });
      }
    });
  }

  test('none is lowered for WebGPU to what it computes wrongly or not at all', () => {
    const all = OPERATION_NAMES.flatMap((name) => SAMPLES[name]());
    const refused = [
      ...['MultiHeadAttention', 'FusedMatMul', 'Sum', 'ScatterND'],
      ...['Round', 'Sign', 'Or', 'IsNaN', 'IsInf', 'ArgMax', 'ArgMin', 'TopK'],
    ];
    assert.deepEqual(
      refused.filter((type) => nodeTypes(all, CPU_LOWERING).has(type)),
      refused,
    );
    assert.deepEqual(
      refused.filter((type) => nodeTypes(all, WEBGPU_LOWERING).has(type)),
      [],
    );
    const divided = (['softmax', 'attention', 'layerNorm', 'pad'] as const).flatMap((name) => SAMPLES[name]());
    const small = ['Softmax', 'LayerNormalization', 'Pad'];
    assert.deepEqual(
      small.filter((type) => nodeTypes(all, WEBGPU_LOWERING).has(type)),
      small,
    );
    assert.deepEqual(
      small.filter((type) => nodeTypes(divided, SPLIT).has(type)),
      [],
    );
  });
});
