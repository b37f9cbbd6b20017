import { describe, test } from 'node:test';
import { resamplePositions } from '../../../src/lib/nn/positions.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

const square = (side: number) => ({ height: side, width: side });

describe('position embeddings of a 37 x 37 grid on 16 x 16', () => {
  const io = fixtureTensors('dinov2/io');
  const width = 128;
  const positions = fixtureWeights('dinov2').get('pos_embed')!.data.subarray(width); // without the class token

  for (const [variant, name] of [
    ['timm', 'repa.pos_embed_16x16'],
    ['dinov2', 'own.pos_embed_16x16'],
  ] as const) {
    test(`as ${variant} does`, () => {
      const expected = io.get(name)!.data.subarray(width);
      const actual = resamplePositions(positions, square(37), square(16), variant);
      assertClose(actual, expected, 3e-5 * largestMagnitude(expected), variant);
    });
  }
});
