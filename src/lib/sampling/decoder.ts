/** What decodes samples: the codec of the training latents, or one that is named. */
import { DataError } from '../errors.js';
import { type Codec, checkStandardised, openCodec, statisticsFor } from '../pretrained/codec.js';
import type { DiffusionModel } from './model.js';

export interface DecoderOptions {
  vae?: string;
  vaeWeights?: string;
  vaeStatistics?: string;
}

/** The codec that options name. */
export const openNamedCodec = ({ vae = 'sd-vae-ft-ema', vaeWeights, vaeStatistics }: DecoderOptions): Promise<Codec> =>
  openCodec({ vae, weights: vaeWeights, statistics: vaeStatistics });

/** The codec of the training latents, unless the command line names another. */
export function openSampleCodec(
  { record }: DiffusionModel,
  { vae, vaeWeights, vaeStatistics }: DecoderOptions,
): Promise<Codec> {
  const { metadata } = record.data.latents;
  const trained = metadata['repa.model'];
  const statistics = vae === undefined ? statisticsFor(metadata, vaeStatistics) : vaeStatistics;
  return openCodec({ vae: vae ?? trained, weights: vaeWeights, statistics });
}

/** @throws DataError when a codec is not of these latents */
export function checkCodec(codec: Codec, { source, record }: DiffusionModel): void {
  const { name, channels } = codec;
  const [own] = record.latent.shape;
  // Weights from elsewhere do not tell what they were trained on.
  if (channels === own && record.data.latents.rows > 0) checkStandardised(codec, record.data.latents.metadata, source);
  if (channels === own) return;
  throw new DataError(
    `${name} decodes latents of ${channels} channels, but those of ${source} have ${own}`,
    'Name their codec with --vae or --vae-weights, or take the latents themselves with --latents.',
  );
}
