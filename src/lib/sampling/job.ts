/** A sampling job: what its options name, and the samples that it gives. */
import type { ByteRounding } from '../images/normalise.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Codec } from '../pretrained/codec.js';
import { projectedShape } from '../repa/projected.js';
import type { Range } from '../stream/shards.js';
import { type Anchor, readAnchor } from './anchor.js';
import { checkCodec, type DecoderOptions, openNamedCodec, openSampleCodec } from './decoder.js';
import { type LabelPlan, labelPlan } from './labels.js';
import { checkHints, isWeightsFile, loadDiffusionModel, loadGuide, type ModelOptions } from './load.js';
import type { DiffusionModel } from './model.js';
import { samplingNetworks } from './networks.js';
import { type Noise, readNoise } from './noise-file.js';
import type { SamplerOptions } from './options.js';
import { Prompts } from './prompts.js';
import { type Sample, sampleImages } from './sample.js';
import { type SamplerSettings, settleSampler } from './settings.js';

export interface SamplingOptions extends SamplerOptions, DecoderOptions, Omit<ModelOptions, 'codec'> {
  ckpt: string;
  labels?: string;
  text?: string;
  prompt?: string;
  textEncoder?: string;
  textWeights?: string;
  tokenizer?: string;
  noise?: string;
  latents?: true;
  /** Of latents. */
  dtype?: 'f16' | 'f32';
  rounding: ByteRounding;
  batchSize: number;
}

/** What is sampled from, and how. */
export interface Job {
  model: DiffusionModel;
  guide: DiffusionModel | undefined;
  settings: SamplerSettings;
  labels: LabelPlan;
  /** Of a network that draws from text. */
  prompts: Prompts | undefined;
  /** What samples are drawn to. */
  anchor?: Anchor;
  /** Undefined where latents are wanted. */
  decoder: Codec | undefined;
  /** Of all images, if not drawn from the seed. */
  noise: Noise | undefined;
}

/**
 * Opens the checkpoint, the sampler and the decoder that the options name.
 * @throws UsageError for options that do not go together or with the checkpoint; DataError for a decoder of other
 *   latents
 */
export async function openJob(options: SamplingOptions): Promise<Job> {
  checkHints(options.ckpt, options, options.guideCkpt);
  // What a file's latents are, no header says: the codec that is named does.
  const named = (options.vae ?? options.vaeWeights) !== undefined;
  const codec = named && isWeightsFile(options.ckpt) ? await openNamedCodec(options) : undefined;
  const hints: ModelOptions = { ...options, codec: codec && { ...codec, ...codec.scale, scale: codec.scale?.scale } };
  const model = loadDiffusionModel(options.ckpt, hints);
  if (options.latents) codec?.dispose();
  const settings = settleSampler(model, options);
  const anchor = settings.anchored && (await readAnchor(settings.anchored, projectedShape(model.record)!));
  const labels = labelPlan(options.labels, model.record);
  const prompts = await Prompts.open(options, model);
  const guide = options.guideCkpt === undefined ? undefined : loadGuide(options.guideCkpt, model, hints);
  const noise = options.noise === undefined ? undefined : await readNoise(options.noise, model.record.latent.shape);
  const decoder = options.latents ? undefined : (codec ?? (await openSampleCodec(model, options)));
  if (decoder) checkCodec(decoder, model);
  return { model, guide, settings, anchor, labels, prompts, decoder, noise };
}

/** The images of a range, a batch at a time. */
export async function* samples(job: Job, { first, end }: Range, options: SamplingOptions): AsyncGenerator<Sample> {
  const { model, guide, prompts, noise } = job;
  const size = sizeOf(model.record.latent.shape);
  const networks = samplingNetworks(model, job.settings, { guide, prompts, anchor: job.anchor });
  const sampled = { ...job, networks, rounding: options.rounding };
  for (let start = first; start < end; start += options.batchSize) {
    const indices = Array.from({ length: Math.min(options.batchSize, end - start) }, (_, row) => start + row);
    yield* await sampleImages(sampled, indices, noise?.values.subarray(start * size, (start + indices.length) * size));
  }
  networks.dispose();
  prompts?.close();
}
