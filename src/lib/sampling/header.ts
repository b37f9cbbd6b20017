/** The columns and the header of a stream of samples: what they are, and how they were made. */

import { engineEntry } from '../engine/select.js';
import { portablePath } from '../files/portable-path.js';
import { sha256OfBytes } from '../files/sha256.js';
import { bytesOf } from '../numbers/typed-array.js';
import { decoderRecord, STATISTICS_KEY } from '../pretrained/codec.js';
import type { TensorColumn } from '../stream/schema.js';
import type { Job, SamplingOptions } from './job.js';
import { describeLabels } from './labels.js';
import type { Noise } from './noise-file.js';
import { describeSampler } from './settings.js';

/** What a stream of samples tells, besides what every stream does. */
export interface SampleHeader {
  kind: 'images' | 'latents';
  column: TensorColumn;
  metadata: Record<string, string | undefined>;
}

/** @param total images of the whole job, whatever the part that this process samples */
export function headerOf(
  { model, guide, settings, labels, prompts, anchor, decoder, noise }: Job,
  options: SamplingOptions,
  total: number,
): SampleHeader {
  const { record, source } = model;
  const { shape, scale, shift } = record.latent;
  const { rounding } = options;
  const side = shape[1] * (decoder?.downsampling ?? 1);
  const column: TensorColumn = decoder
    ? { name: 'image', dtype: 'u8', shape: [side, side, 3], dimNames: ['H', 'W', 'C'] }
    : { name: 'latent', dtype: options.dtype ?? 'f32', shape, dimNames: ['C', 'H', 'W'] };
  const sampler = {
    ...describeSampler(settings),
    ...(guide
      ? { guide: { checkpoint: portablePath(guide.source), step: guide.record.step, sha256: guide.sha256 } }
      : {}),
    labels: prompts ? 'text' : describeLabels(labels),
    ...(prompts && {
      ...(options.text === undefined
        ? { prompt: options.prompt }
        : { text: portablePath(options.text), text_content: prompts.content }),
      text_encoder: prompts.metadata['repa.model'],
      prompts: prompts.count,
    }),
    ...(anchor && { anchor_content: anchor.content }),
    count: total,
    ...(options.noise === undefined
      ? {}
      : { noise: portablePath(options.noise), noise_sha256: noise && noiseHash(noise) }),
    checkpoint: portablePath(source),
    step: record.step,
    weights: model.weights,
  };
  const metadata = {
    'repa.model': portablePath(source),
    'repa.model.sha256': model.sha256,
    'repa.engine': engineEntry(),
    'repa.sampler': JSON.stringify(sampler),
    'repa.decoder': decoder && JSON.stringify(decoderRecord(decoder, rounding)),
    'repa.seed': String(settings.seed),
    'repa.reference': record.data.latents.metadata['repa.reference'],
    'repa.codec': options.latents && (options.vae ?? record.data.latents.metadata['repa.model']),
    [STATISTICS_KEY]: options.latents && record.data.latents.metadata[STATISTICS_KEY],
    'repa.latent.scale': options.latents && JSON.stringify(scale),
    'repa.latent.shift': options.latents && JSON.stringify(shift),
  };
  return { kind: options.latents ? 'latents' : 'images', column, metadata };
}

const noiseHash = ({ values }: Noise): string => sha256OfBytes(bytesOf(values));
