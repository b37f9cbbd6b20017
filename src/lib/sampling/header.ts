/** The columns and the header of a stream of samples: what they are, and how they were made. */
import path from 'node:path';
import { provenance } from '../cli/provenance.js';
import { type Codec, decoderRecord } from '../pretrained/codec.js';
import type { StreamSchema, TensorColumn } from '../stream/schema.js';
import type { DiffusionModel } from './diffusion-model.js';
import type { Noise } from './noise-file.js';
import type { SamplingOptions } from './run.js';
import { describeSampler, type SamplerSettings } from './settings.js';

/** What is sampled from, and how. */
export interface Job {
  model: DiffusionModel;
  guide: DiffusionModel | undefined;
  settings: SamplerSettings;
  /** Undefined where latents are wanted. */
  decoder: Codec | undefined;
  /** Of all images, if not drawn from the seed. */
  noise: Noise | undefined;
}

/** @param total images of the whole job, whatever the part that this process samples */
export function schemaOf(
  { model, guide, settings, decoder }: Job,
  options: SamplingOptions,
  total: number,
): StreamSchema {
  const { record, source } = model;
  const { shape, scale, shift } = record.latent;
  const { labels, raw, ema = record.training.emaDecays[0], rounding } = options;
  const side = shape[1] * (decoder?.downsampling ?? 1);
  const column: TensorColumn = decoder
    ? { name: 'image', dtype: 'u8', shape: [side, side, 3], dimNames: ['H', 'W', 'C'] }
    : { name: 'latent', dtype: 'f32', shape, dimNames: ['C', 'H', 'W'] };
  const sampler = {
    ...describeSampler(settings),
    ...(guide ? { guide: { checkpoint: path.resolve(guide.source), step: guide.record.step } } : {}),
    labels,
    count: total,
    ...(options.noise === undefined ? {} : { noise: path.resolve(options.noise) }),
    checkpoint: path.resolve(source),
    step: record.step,
    weights: raw ? 'raw' : `ema ${ema}`,
  };
  const metadata = provenance(options.latents ? 'latents' : 'images', {
    'repa.model': path.resolve(source),
    'repa.sampler': JSON.stringify(sampler),
    'repa.decoder': decoder && JSON.stringify(decoderRecord(decoder, rounding)),
    'repa.seed': String(settings.seed),
    'repa.reference': record.data.latents.metadata['repa.reference'],
    'repa.codec': options.latents && (options.vae ?? record.data.latents.metadata['repa.model']),
    'repa.latent.scale': options.latents && JSON.stringify(scale),
    'repa.latent.shift': options.latents && JSON.stringify(shift),
  });
  return { columns: [column], metadata };
}
