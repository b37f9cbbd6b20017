/** Weights of Inception that need no file. */
import { inceptionShapes } from '../src/lib/models/inception.js';
import type { Weights } from '../src/lib/models/parameters.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';

/** FNV-1a, 32 bits. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** Murmur3's finaliser. */
export function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The weights of the fixture `inception`, a formula of each name and index: u in [0, 1) to a value. */
export function formulaWeights(): Weights {
  const formulaOf = (name: string, shape: readonly number[]): ((u: number) => number) => {
    if (name === 'fc.weight') return (u) => (2 * u - 1) * 0.05;
    if (name.endsWith('.conv.weight')) {
      const bound = Math.sqrt(6 / sizeOf(shape.slice(1)));
      return (u) => (2 * u - 1) * bound;
    }
    if (name.endsWith('.bn.weight')) return (u) => 0.8 + 0.4 * u;
    if (name.endsWith('.running_var')) return (u) => 0.5 + u;
    return (u) => (2 * u - 1) * 0.2;
  };
  const weights: Weights = new Map();
  for (const [name, { shape }] of inceptionShapes()) {
    const offset = hashOf(name);
    const value = formulaOf(name, shape);
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) data[i] = value((mix(i + offset) >>> 8) / 2 ** 24);
    weights.set(name, { shape, data });
  }
  return weights;
}
