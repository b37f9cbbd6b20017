/**
 * The weights that the networks of the fixtures were run with. They were drawn from a seed, so only that and the shapes
 * are kept, in `weights.json`; what was not drawn lies in `weights.safetensors`.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { toFloat32 } from '../src/lib/formats/host-tensor.js';
import { openSafetensors, writeSafetensors } from '../src/lib/formats/safetensors.js';
import type { Weights } from '../src/lib/models/parameters.js';
import { floatFromHalf, halfFromFloat } from '../src/lib/numbers/half.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';
import { standardNormals } from './numpy-random.js';
import { fixturePath, temporaryFolder } from './support.js';

export interface WeightsRecipe {
  seed: number;
  /** `f16`: rounded to half precision. */
  dtype: 'f32' | 'f16';
  /** In the order of the draws. */
  shapes: Record<string, number[]>;
}

/** Mean and deviation of a tensor's values. */
function distributionOf(name: string, shape: readonly number[]): [mean: number, deviation: number] {
  if (name.endsWith('.gamma')) return [0.5, 0.2];
  if (name.endsWith('embedding_table.weight')) return [0, 0.5];
  if (name === 'cls_token' || name === 'mask_token' || /pos_embed|position/.test(name)) return [0, 0.3];
  if (shape.length === 1) return [name.endsWith('.weight') ? 1 : 0, 0.1];
  return [0, 1 / Math.sqrt(sizeOf(shape.slice(1)))];
}

/** All tensors of a safetensors file, as f32. */
export function readTensors(file: string): Weights {
  const source = openSafetensors(file);
  try {
    return new Map(
      source.names.map((name) => {
        const tensor = source.read(name);
        return [name, { shape: tensor.shape, data: toFloat32(tensor) }];
      }),
    );
  } finally {
    source.close();
  }
}

/** The weights of `test/fixtures/<name>`. */
export function fixtureWeights(name: string): Weights {
  const file = fixturePath(`${name}/weights.safetensors`);
  const kept = existsSync(file) ? readTensors(file) : undefined;
  return drawWeights(JSON.parse(readFileSync(fixturePath(`${name}/weights.json`), 'utf8')), kept);
}

/** Draws what is not in `kept`. */
export function drawWeights({ seed, dtype, shapes }: WeightsRecipe, kept: Weights = new Map()): Weights {
  const normal = standardNormals(seed);
  const weights: Weights = new Map();
  for (const [tensor, shape] of Object.entries(shapes)) {
    const [mean, deviation] = distributionOf(tensor, shape);
    const drawn = Float32Array.from({ length: sizeOf(shape) }, () => mean + deviation * normal());
    weights.set(
      tensor,
      kept.get(tensor) ?? { shape, data: dtype === 'f16' ? floatFromHalf(halfFromFloat(drawn)) : drawn },
    );
  }
  return weights;
}

export function writeWeights(file: string, weights: Weights): void {
  writeSafetensors(
    file,
    [...weights].map(([name, { shape, data }]) => [name, { shape: [...shape], dtype: 'f32', data }]),
  );
}

/** The weights of `test/fixtures/<name>` as a file, as users have them; it vanishes with the test. */
export function fixtureWeightsFile(name: string): string {
  const file = path.join(temporaryFolder(), `${name}.safetensors`);
  writeWeights(file, fixtureWeights(name));
  return file;
}
