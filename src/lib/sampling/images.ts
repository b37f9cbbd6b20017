/** From image numbers to samples: sampled, brought back to the codec's latents, and decoded. */
import { type ByteRounding, fromSignedUnit } from '../images/normalise.js';
import type { RgbImage } from '../images/rgb-image.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Codec } from '../pretrained/codec.js';
import { restoreLatents } from '../pretrained/latent-scale.js';
import type { DiffusionModel } from './diffusion-model.js';
import { type LabelPlan, labelOf } from './labels.js';
import { type SamplingNetworks, sampleLatents } from './sample.js';
import type { SamplerSettings } from './settings.js';

/** One sampled image, or its latent where there is no decoder. */
export interface Sample {
  key: string;
  label: number;
  latent: Float32Array; // [C, h, w], as the codec gave them
  image: RgbImage | undefined;
}

export interface SampleJob {
  model: Pick<DiffusionModel, 'record' | 'config'>;
  networks: SamplingNetworks;
  settings: SamplerSettings;
  labels: LabelPlan;
  /** Undefined where latents are wanted. */
  decoder: Codec | undefined;
  rounding: ByteRounding;
}

/**
 * Samples the images of these numbers as one batch.
 * @param noise initial noise [N, C, h, w], if not drawn from the seed
 */
export async function sampleImages(
  { model, networks, settings, labels: plan, decoder, rounding }: SampleJob,
  indices: readonly number[],
  noise?: Float32Array,
): Promise<Sample[]> {
  const { config, record } = model;
  const { shape, scale, shift } = record.latent;
  const [channels, height, width] = shape;
  const labels = Int32Array.from(indices, (index) => labelOf(plan, index, config, settings.seed));
  const latents = await sampleLatents(networks, shape, { indices, labels, noise }, settings); // [N, C, h, w]
  restoreLatents(latents, channels, height * width, { scale: [...scale], shift: [...shift] });
  const pixels = decoder?.decode(latents, indices.length, height); // [N, 3, H, W]
  const side = height * (decoder?.downsampling ?? 1);
  const size = sizeOf(shape);
  return indices.map((index, row) => {
    const planes = pixels?.subarray(row * 3 * side * side, (row + 1) * 3 * side * side);
    return {
      key: String(index).padStart(6, '0'),
      label: labels[row] < config.numClasses ? labels[row] : -1,
      latent: latents.subarray(row * size, (row + 1) * size),
      image: planes && fromSignedUnit(planes, side, side, rounding),
    };
  });
}
