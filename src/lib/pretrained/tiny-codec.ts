/** The tiny autoencoders (TAESD, TAEF2) as codecs: no posterior, one latent an image. */
import { UsageError } from '../errors.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import {
  decodeTiny,
  encodeTiny,
  inferTinyAutoencoderConfig,
  TINY_DOWNSAMPLING,
  tinyAutoencoderShapes,
} from '../models/tiny-autoencoder.js';
import type { Codec } from './codec-interface.js';
import { CompiledByImage } from './compiled.js';
import type { OpenNetwork } from './load.js';

/** @throws DataError for weights of another network; UsageError, when it is used, for a half that is not there */
export function tinyCodec({ name, sha256, weights, close }: OpenNetwork): Codec {
  const config = inferTinyAutoencoderConfig(weights, name);
  const parameters = toParameters(matchWeights(weights, tinyAutoencoderShapes(config), name));
  close();
  const encoder = new CompiledByImage(() => (images) => [encodeTiny(parameters, config, images)]);
  const decoder = new CompiledByImage(() => (z) => [decodeTiny(parameters, config, z)]);
  const need = (half: 'encoder' | 'decoder') => {
    if (!config[half]) throw new UsageError(`${name} holds no ${half}`, `Name the file of the ${half} with --weights.`);
  };
  return {
    name,
    sha256,
    column: 'latent',
    channels: config.latentChannels,
    downsampling: TINY_DOWNSAMPLING,
    scale: { scale: [1], shift: [0] }, // made to have a standard deviation near 1
    encode(images, count, size) {
      need('encoder');
      return encoder.run(images, [count, 3, size, size])[0];
    },
    decode(latents, count, size) {
      need('decoder');
      return decoder.run(latents, [count, config.latentChannels, size, size])[0];
    },
    dispose() {
      encoder.dispose();
      decoder.dispose();
    },
  };
}
