/** Sampling with a small SiT, to be run on both backends, or many times over. The backend is selected before. */

import { type Times, timesOfRows } from '../../src/lib/diffusion/guidance.js';
import { type SamplerOptions, settle } from '../../src/lib/diffusion/samplers/index.js';
import { capture, type TensorSpec, tf } from '../../src/lib/engine/index.js';
import { sit, transformerParameters } from '../../src/lib/models/dit.js';
import { sitConfig } from '../../src/lib/models/dit-sizes.js';
import { toParameters } from '../../src/lib/models/parameters.js';
import { sizeOf } from '../../src/lib/numbers/typed-array.js';
import { sampleLatents } from '../../src/lib/sampling/sample.js';
import { randomWeights } from './random-weights.js';

const config = sitConfig('SiT-S/2', { inputSize: 16, depth: 3, hiddenSize: 64, numHeads: 2, numClasses: 5 });
const LATENT = [config.inChannels, config.inputSize, config.inputSize];
const LABELS = Int32Array.of(0, 3);

const GUIDANCE = { cfg: 1.8, guidanceLow: 0, guidanceHigh: 0.7, guidanceChannels: undefined, seed: 0 };

/** Guided samples, [2, C, h, w]. */
export async function guidedSamples(
  options: SamplerOptions,
  guidance: Partial<typeof GUIDANCE> = {},
): Promise<Float32Array> {
  const p = toParameters(randomWeights(transformerParameters(config)));
  const programs = [LABELS.length, 2 * LABELS.length].map((rows) => {
    const specs: TensorSpec[] = [
      { shape: [rows, ...LATENT], dtype: 'float32' },
      { shape: [rows], dtype: 'float32' },
      { shape: [rows], dtype: 'int32' },
    ];
    return capture((x, t, y) => [sit(p, config, x, t, y).output], specs, { constants: 'bake' });
  });
  const network = (x: Float32Array, t: Times, labels: Int32Array): Float32Array => {
    const rows = labels.length;
    const [, both] = programs;
    const program = rows === LABELS.length ? programs[0] : both;
    return program.run(x, timesOfRows(t, rows), labels)[0] as Float32Array;
  };
  const networks = { network, stateSize: sizeOf(LATENT), nullLabel: config.numClasses };
  const samples = await sampleLatents(
    networks,
    LATENT,
    { indices: [0, 1], labels: LABELS },
    { ...GUIDANCE, ...guidance, sampler: settle('SiT', { path: 'linear', timeShift: 1 }, options) },
  );
  for (const program of programs) program.dispose();
  tf.dispose(Object.values(p));
  return samples;
}
