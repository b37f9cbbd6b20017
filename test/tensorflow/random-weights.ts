import type { Shapes, Weights } from '../../src/lib/models/parameters.js';
import { fillNormal, PURPOSE } from '../../src/lib/numbers/random.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';

/** Other numbers for each `row`. */
export function normals(shape: readonly number[], row: number, scale = 1): Float32Array<ArrayBuffer> {
  const values = new Float32Array(sizeOf(shape));
  fillNormal(values, 0, PURPOSE.noise, row);
  return values.map((value) => value * scale);
}

/** Weights that leave activations about as large as they were. */
export function randomWeights(shapes: Shapes): Weights {
  const weights: Weights = new Map();
  for (const [name, { shape }] of shapes) {
    const isVector = shape.length === 1;
    const values = normals(shape, weights.size, isVector ? 0.1 : sizeOf(shape.slice(1)) ** -0.5);
    const isScale = isVector && name.endsWith('.weight');
    weights.set(name, { shape, data: isScale ? values.map((value) => 1 + value) : values });
  }
  return weights;
}
