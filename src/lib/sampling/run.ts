/** A sampling job from its options to its outputs. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Progress } from '../cli/progress.js';
import { provenance } from '../cli/provenance.js';
import { checkBinaryOutput, shardOf, writeStream } from '../cli/tensor-output.js';
import type { BackendOptions } from '../engine/index.js';
import { selectBackend } from '../engine/index.js';
import { UsageError } from '../errors.js';
import type { ByteRounding } from '../images/normalise.js';
import { contactSheet, writePng } from '../images/png.js';
import type { RgbImage } from '../images/rgb-image.js';
import { type Codec, openCodec } from '../networks/codec.js';
import type { TensorColumn } from '../stream/schema.js';
import type { Shard } from '../stream/shards.js';
import type { TensorWriter } from '../stream/writer.js';
import { sizeOf } from '../typed-array.js';
import {
  compiledNetwork,
  type DiffusionModel,
  isWeightsFile,
  loadDiffusionModel,
  loadGuide,
  type ModelOptions,
} from './diffusion-model.js';
import { type Sample, type SampleJob, sampleImages } from './images.js';
import { readNoise } from './noise-file.js';
import type { LabelPlan } from './sample.js';
import { describeSampler, type SamplerOptions, type SamplerSettings, settleSampler } from './settings.js';

export interface SamplingOptions extends SamplerOptions, Omit<ModelOptions, 'codec'>, BackendOptions {
  ckpt: string;
  num?: number;
  labels: string;
  noise?: string;
  latents?: true;
  vae?: string;
  vaeWeights?: string;
  rounding: ByteRounding;
  grid?: string;
  png?: string;
  batchSize: number;
  shard?: Shard;
  out?: string;
}

const PROTOCOL_COUNT = 50_000;
const SHEET_COUNT = 64;

export async function runSampling(given: SamplingOptions, progressOf: (total: number) => Progress): Promise<void> {
  const pictures = given.grid !== undefined || given.png !== undefined;
  const streams = !pictures || given.out !== undefined;
  const options = { ...given, shard: streams ? shardOf(given) : given.shard };
  if (pictures && options.latents) throw new UsageError('--latents are no pictures: drop --grid and --png');
  if (streams) checkBinaryOutput(options);
  await selectBackend(options);

  // What a file's latents are, no header says: the codec that is named does.
  const named = (options.vae ?? options.vaeWeights) !== undefined;
  const codec = named && isWeightsFile(options.ckpt) ? await openNamedCodec(options) : undefined;
  const hints: ModelOptions = { ...options, codec: codec && { ...codec, ...codec.scale } };
  const model = loadDiffusionModel(options.ckpt, hints);
  if (options.latents) codec?.dispose();
  const settings = settleSampler(model, options);
  const guide = options.guideCkpt === undefined ? undefined : loadGuide(options.guideCkpt, model, hints);
  const noise = options.noise === undefined ? undefined : await readNoise(options.noise, model.record.latent.shape);
  const total = noise?.rows ?? options.num ?? (pictures ? SHEET_COUNT : PROTOCOL_COUNT);
  const edge = (index: number): number => Math.floor((index * total) / (options.shard?.count ?? 1));
  const [first, end] = options.shard ? [edge(options.shard.index), edge(options.shard.index + 1)] : [0, total];

  const progress = progressOf(end - first);
  const sheet: RgbImage[] = [];
  if (options.png) mkdirSync(options.png, { recursive: true });
  const produce = async (writer?: TensorWriter): Promise<void> => {
    const decoder = options.latents ? undefined : (codec ?? (await openSampleCodec(model, options)));
    const job = openJob(model, guide, settings, decoder, options);
    for await (const sample of samples(job, { first, end, noise: noise?.values }, options.batchSize)) {
      const { key, label, latent, image } = sample;
      if (writer) await writer.append(key, label, image ? { image: image.data } : { latent });
      if (image && options.grid) sheet.push(image);
      if (image && options.png) await writePng(path.join(options.png, `${key}.png`), image);
      progress.advance();
    }
    job.dispose();
  };
  const schema = schemaOf(model, guide, settings, options, total);
  const written = streams ? await writeStream(options, schema, produce) : await produce();
  if (options.grid) await writePng(options.grid, contactSheet(sheet));
  if (written === false) progress.say(`${options.out}: this part is finished already`);
  else progress.finish();
}

/** The image numbers to sample: `first` up to, but without, `end`. */
interface Range {
  first: number;
  end: number;
  noise: Float32Array | undefined; // [total, C, h, w]
}

/** Everything that sampling needs, with the networks compiled. */
function openJob(
  model: DiffusionModel,
  guide: DiffusionModel | undefined,
  settings: SamplerSettings,
  decoder: Codec | undefined,
  { labels, rounding }: SamplingOptions,
): SampleJob & { dispose(): void } {
  const network = compiledNetwork(model);
  const guideNetwork = guide && compiledNetwork(guide);
  return {
    model,
    settings,
    decoder,
    labels: labelPlan(labels),
    rounding,
    networks: { network, nullLabel: model.config.numClasses, guide: guideNetwork },
    dispose() {
      network.dispose();
      guideNetwork?.dispose();
      decoder?.dispose();
    },
  };
}

async function* samples(job: SampleJob, { first, end, noise }: Range, batchSize: number): AsyncGenerator<Sample> {
  const size = sizeOf(job.model.record.latent.shape);
  for (let start = first; start < end; start += batchSize) {
    const indices = Array.from({ length: Math.min(batchSize, end - start) }, (_, row) => start + row);
    yield* await sampleImages(job, indices, noise?.subarray(start * size, (start + indices.length) * size));
  }
}

function labelPlan(text: string): LabelPlan {
  if (text === 'random' || text === 'balanced') return text;
  const numbers = text.split(',').map(Number);
  if (numbers.every((label) => Number.isInteger(label) && label >= 0)) return numbers;
  throw new UsageError(`--labels ${text}: it takes random, balanced, or class numbers such as 0,1,7`);
}

const openNamedCodec = ({ vae = 'sd-vae-ft-ema', vaeWeights }: SamplingOptions): Promise<Codec> =>
  openCodec({ vae, weights: vaeWeights, half: 'decoder' });

/** The codec of the training latents, unless the command line names another. */
function openSampleCodec({ record }: DiffusionModel, { vae, vaeWeights }: SamplingOptions): Promise<Codec> {
  const trained = record.data.latents.metadata['repa.model'];
  return openCodec({ vae: vae ?? trained, weights: vaeWeights, half: 'decoder' });
}

function schemaOf(
  model: DiffusionModel,
  guide: DiffusionModel | undefined,
  settings: SamplerSettings,
  options: SamplingOptions,
  total: number,
) {
  const { record, source } = model;
  const { shape, scale, shift } = record.latent;
  const { labels, raw, ema = record.training.emaDecays[0] } = options;
  const codecName = options.vaeWeights ?? options.vae ?? record.data.latents.metadata['repa.model'];
  const side = JSON.parse(record.data.latents.metadata['repa.preprocess'] ?? '{}').size ?? shape[1];
  const column: TensorColumn = options.latents
    ? { name: 'latent', dtype: 'f32', shape, dimNames: ['C', 'H', 'W'] }
    : { name: 'image', dtype: 'u8', shape: [side, side, 3], dimNames: ['H', 'W', 'C'] };
  const sampler = {
    ...describeSampler(settings),
    guide: guide && { checkpoint: path.resolve(guide.source), step: guide.record.step },
    labels,
    count: total,
    weights: raw ? 'raw' : `ema ${ema}`,
    codec: codecName,
    rounding: options.latents ? undefined : options.rounding,
    step: record.step,
  };
  const metadata = provenance(options.latents ? 'latents' : 'images', {
    'repa.model': path.resolve(source),
    'repa.sampler': JSON.stringify(sampler),
    'repa.seed': String(settings.seed),
    'repa.reference': record.data.latents.metadata['repa.reference'],
    'repa.latent.scale': options.latents && JSON.stringify(scale),
    'repa.latent.shift': options.latents && JSON.stringify(shift),
  });
  return { columns: [column], metadata };
}
