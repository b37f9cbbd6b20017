/**
 * The affine map between what a codec gives and what the diffusion model sees: z = (x - shift) * scale, either one
 * number for all channels (SD-VAE: scale 0.18215, shift 0) or one per channel.
 */
import { DataError, UsageError } from '../errors.js';

export interface LatentScale {
  /** One number, or one per channel. */
  scale: number[];
  shift: number[];
}

/** @throws UsageError when there is not one number, or one a channel, or a scale that makes all latents 0 */
export function checkScale({ scale, shift }: LatentScale, channels: number): void {
  for (const [option, values] of [
    ['--latent-scale', scale],
    ['--latent-shift', shift],
  ] as const) {
    if (values.length === 1 || values.length === channels) continue;
    throw new UsageError(
      `${option} has ${values.length} numbers: it takes one, or one for each of ${channels} channels`,
    );
  }
  if (!scale.every((value) => value > 0)) throw new UsageError('--latent-scale takes numbers above 0');
}

/**
 * Reads `repa.latent.scale` and `repa.latent.shift` from a stream's metadata.
 * @throws DataError when the scale is missing: training on unscaled latents fails silently, so it is never guessed.
 */
export function readLatentScale(
  metadata: Readonly<Record<string, string>>,
  channels: number,
  where: string,
): LatentScale {
  const numbers = (key: string, fallback?: string): number[] => {
    const text = metadata[key] ?? fallback;
    if (text === undefined) {
      throw new DataError(
        `${where}: the header has no ${key}, so the latents' scale is unknown`,
        'Encode the images again with repa encode-vae, which writes it.',
      );
    }
    const values = [JSON.parse(text)].flat() as unknown[];
    if ((values.length !== 1 && values.length !== channels) || !values.every((v) => Number.isFinite(v))) {
      throw new DataError(`${where}: ${key} is ${text}, which is neither a number nor ${channels} numbers`);
    }
    return values as number[];
  };
  const scale = numbers('repa.latent.scale');
  if (scale.some((value) => value === 0)) throw new DataError(`${where}: repa.latent.scale is 0, which leaves nothing`);
  return { scale, shift: numbers('repa.latent.shift', '0') };
}

const at = (values: readonly number[], channel: number): number => values[values.length === 1 ? 0 : channel];

/** Normalises latents in place: x becomes (x - shift) * scale. `x` is [N, C, area] flat. */
export function normaliseLatents(x: Float32Array, channels: number, area: number, { scale, shift }: LatentScale): void {
  for (let i = 0; i < x.length; i += area) {
    const channel = (i / area) % channels;
    const [factor, offset] = [at(scale, channel), at(shift, channel)];
    for (let j = i; j < i + area; j++) x[j] = (x[j] - offset) * factor;
  }
}

/** The inverse of `normaliseLatents`, in place: x becomes x / scale + shift. */
export function restoreLatents(x: Float32Array, channels: number, area: number, { scale, shift }: LatentScale): void {
  for (let i = 0; i < x.length; i += area) {
    const channel = (i / area) % channels;
    const [factor, offset] = [at(scale, channel), at(shift, channel)];
    for (let j = i; j < i + area; j++) x[j] = x[j] / factor + offset;
  }
}
