import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type Captured, capture, selectBackend } from '../../../src/lib/engine/index.js';
import { DataError } from '../../../src/lib/errors.js';
import {
  foldBatchNorms,
  type InceptionResize,
  inception,
  inceptionInput,
  inceptionShapes,
  isUnusedByInception,
} from '../../../src/lib/models/inception.js';
import { matchWeights, toParameters } from '../../../src/lib/models/parameters.js';
import { formulaWeights } from '../../inception-weights.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

describe('Inception', () => {
  const io = fixtureTensors('inception/io');
  let program: Captured;

  before(async () => {
    await selectBackend();
    const weights = matchWeights(formulaWeights(), inceptionShapes(), 'formula');
    const p = toParameters(foldBatchNorms(weights));
    program = capture(
      (images) => {
        const { pool, spatial, logits } = inception(p, images);
        return [pool, spatial, logits];
      },
      [{ shape: [2, 3, 299, 299], dtype: 'float32' }],
    );
  });

  const features = (resize: InceptionResize) => {
    const { data } = io.get('image_64')!; // [2, 64, 64, 3]
    const input = new Float32Array(2 * 3 * 299 * 299);
    for (const row of [0, 1]) {
      const pixels = Uint8Array.from(data.subarray(row * 64 * 64 * 3, (row + 1) * 64 * 64 * 3));
      inceptionInput({ width: 64, height: 64, data: pixels }, resize, input.subarray((row * input.length) / 2));
    }
    const [pool, spatial, logits] = program.run(input) as Float32Array[];
    return { pool, spatial, logits };
  };
  const check = (actual: Float32Array, name: string) => {
    const expected = io.get(name)!.data;
    assertClose(actual, expected, 1e-4 * largestMagnitude(expected), name);
  };

  test("pool, spatial features and logits are those of the original graph, as ADM's evaluator runs it", () => {
    const { pool, spatial, logits } = features('adm');
    check(pool, 'tf.64.2048');
    check(spatial, 'tf.64.spatial2023');
    check(logits, 'tf.64.logits_unbiased');
  });

  test('pool features as pytorch-fid computes them', () => check(features('pytorch-fid').pool, 'pytorch_fid.64.2048'));

  test('pool features as clean-fid computes them', () => check(features('clean').pool, 'clean.64.2048'));

  test('a file of another network is refused, unused tensors are not', () => {
    assert.throws(() => matchWeights(new Map(), inceptionShapes(), 'x.pth', isUnusedByInception), DataError);
    assert.ok(isUnusedByInception('Mixed_5b.branch1x1.bn.num_batches_tracked') && isUnusedByInception('fc.bias'));
  });
});
