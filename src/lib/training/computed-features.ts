/** Features that are computed while training, of images that belong to the latents: for sets whose features fit no disk. */
import { DataError } from '../errors.js';
import { type ImagePlace, type ImageStore, openImageStore } from '../images/image-store.js';
import type { RgbImage } from '../images/rgb-image.js';
import { openEncoder } from '../pretrained/encoder.js';
import type { InputNormalisation } from '../pretrained/encoder-interface.js';

export interface EncoderChoice {
  encoder: string;
  encoderWeights?: string;
  encoderOutput?: string;
  encoderNormalise?: InputNormalisation;
  encoderSize?: number;
  /** The images that the latents were made of. */
  images: string;
}

export interface ComputedFeatures {
  readonly name: string;
  readonly tokens: number;
  readonly dim: number;
  /** As extract-dino would have written it. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Side of the square crop that the encoder takes. */
  readonly cropSize: number;
  /** Where the image of a latent lies. */
  place(key: string): ImagePlace;
  /** Features [N, T, D] of as many crops as were announced. */
  encode(crops: readonly RgbImage[]): Float32Array;
  dispose(): void;
}

/**
 * @param batchSize crops that are encoded at a time
 * @throws DataError when a key has no image; and as openEncoder and openImageStore
 */
export async function openComputedFeatures(
  { encoder: name, images, ...choice }: EncoderChoice,
  keys: readonly string[],
  batchSize: number,
): Promise<ComputedFeatures> {
  const store = await openImageStore(images);
  checkKeys(store, keys, images);
  const encoder = await openEncoder({
    encoder: name,
    weights: choice.encoderWeights,
    output: choice.encoderOutput,
    normalise: choice.encoderNormalise,
    size: choice.encoderSize,
    posEmbed: 'timm',
    batchSize,
  });
  return {
    name: encoder.name,
    tokens: encoder.tokens,
    dim: encoder.dim,
    metadata: {
      'repa.model': encoder.name,
      'repa.model.sha256': encoder.sha256,
      'repa.preprocess': JSON.stringify(encoder.preprocess),
    },
    cropSize: encoder.size,
    place: (key) => store.place(key),
    encode: (crops) => encoder.encode(crops).feature,
    dispose: () => encoder.dispose(),
  };
}

function checkKeys(store: ImageStore, keys: readonly string[], images: string): void {
  const missing = keys.filter((key) => !store.has(key));
  if (missing.length === 0) return;
  throw new DataError(
    `${images}: ${missing.length} of the ${keys.length} images that have latents are not there, first '${missing[0]}'`,
    'Name the images that repa encode-vae was run on.',
  );
}
