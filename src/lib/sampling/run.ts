/** A sampling job from its options to its outputs. */
import path from 'node:path';
import type { Progress } from '../cli/progress.js';
import { checkBinaryOutput, isShardFolder, shardOf, writeStream } from '../cli/tensor-output.js';
import type { BackendOptions } from '../engine/index.js';
import { selectBackend } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import type { ByteRounding } from '../images/normalise.js';
import { sizeOf } from '../numbers/typed-array.js';
import { type Codec, openCodec } from '../pretrained/codec.js';
import { partName, type Shard } from '../stream/shards.js';
import type { TensorWriter } from '../stream/writer.js';
import {
  compiledNetwork,
  type DiffusionModel,
  isWeightsFile,
  loadDiffusionModel,
  loadGuide,
  type ModelOptions,
} from './diffusion-model.js';
import { type Job, schemaOf } from './header.js';
import { type Sample, sampleImages } from './images.js';
import { readNoise } from './noise-file.js';
import { partsOf, type Range, rangeOf, WHOLE } from './parts.js';
import { PictureOutput } from './picture-output.js';
import type { LabelPlan } from './sample.js';
import { type SamplerOptions, settleSampler } from './settings.js';
import { stateSize } from './state.js';

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
  /** Images of a part, where the output is a folder of parts. */
  partSize: number;
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
  const job = await openJob(options);
  const total = job.noise?.rows ?? options.num ?? (pictures ? SHEET_COUNT : PROTOCOL_COUNT);
  const share = rangeOf(options.shard ?? WHOLE, total);
  const progress = progressOf(share.end - share.first);
  const sheet = new PictureOutput(options);
  const produce = async (range: Range, writer?: TensorWriter): Promise<void> => {
    for await (const { key, label, latent, image } of samples(job, range, options)) {
      if (writer) await writer.append(key, label, image ? { image: image.data } : { latent });
      if (image) await sheet.add(key, image);
      progress.advance();
    }
  };
  if (!streams) await produce(share);
  else if (isShardFolder(options.out ?? '-')) await writeParts(options, job, total, { produce, sheet, progress });
  else await writeStream(options, schemaOf(job, options, total), (writer) => produce(share, writer));
  job.decoder?.dispose();
  await sheet.end();
  progress.finish();
}

/** The checkpoint, the sampler and the decoder that the options name. */
async function openJob(options: SamplingOptions): Promise<Job> {
  // What a file's latents are, no header says: the codec that is named does.
  const named = (options.vae ?? options.vaeWeights) !== undefined;
  const codec = named && isWeightsFile(options.ckpt) ? await openNamedCodec(options) : undefined;
  const hints: ModelOptions = { ...options, codec: codec && { ...codec, ...codec.scale } };
  const model = loadDiffusionModel(options.ckpt, hints);
  if (options.latents) codec?.dispose();
  const settings = settleSampler(model, options);
  const guide = options.guideCkpt === undefined ? undefined : loadGuide(options.guideCkpt, model, hints);
  const noise = options.noise === undefined ? undefined : await readNoise(options.noise, model.record.latent.shape);
  const decoder = options.latents ? undefined : (codec ?? (await openSampleCodec(model, options)));
  if (decoder) checkCodec(decoder, model);
  return { model, guide, settings, decoder, noise };
}

interface PartsJob {
  produce(range: Range, writer: TensorWriter): Promise<void>;
  sheet: PictureOutput;
  progress: Progress;
}

/** Samples what is missing in a folder of parts. */
async function writeParts(options: SamplingOptions, job: Job, total: number, { produce, sheet, progress }: PartsJob) {
  const schema = schemaOf(job, options, total);
  const parts = partsOf(options.shard ?? WHOLE, total, options.partSize);
  let finished = 0;
  for (const shard of parts) {
    const range = rangeOf(shard, total);
    if (await writeStream({ ...options, shard }, schema, (writer) => produce(range, writer))) continue;
    finished++;
    await sheet.addPart(path.join(options.out!, partName(shard)));
    progress.advance(range.end - range.first);
  }
  if (finished > 0) progress.say(`${options.out}: ${finished} of ${parts.length} parts were finished already`);
}

async function* samples(job: Job, { first, end }: Range, options: SamplingOptions): AsyncGenerator<Sample> {
  const { model, guide, noise } = job;
  const size = sizeOf(model.record.latent.shape);
  const network = compiledNetwork(model);
  const guideNetwork = guide && compiledNetwork(guide);
  const { config } = model;
  const networks = { network, stateSize: stateSize(config), nullLabel: config.numClasses, guide: guideNetwork };
  const sampled = { ...job, networks, labels: labelPlan(options.labels), rounding: options.rounding };
  for (let start = first; start < end; start += options.batchSize) {
    const indices = Array.from({ length: Math.min(options.batchSize, end - start) }, (_, row) => start + row);
    yield* await sampleImages(sampled, indices, noise?.values.subarray(start * size, (start + indices.length) * size));
  }
  network.dispose();
  guideNetwork?.dispose();
}

function labelPlan(text: string): LabelPlan {
  if (text === 'random' || text === 'balanced') return text;
  const numbers = text.split(',').map(Number);
  if (numbers.every((label) => Number.isInteger(label) && label >= 0)) return numbers;
  throw new UsageError(`--labels ${text}: it takes random, balanced, or class numbers such as 0,1,7`);
}

const openNamedCodec = ({ vae = 'sd-vae-ft-ema', vaeWeights }: SamplingOptions): Promise<Codec> =>
  openCodec({ vae, weights: vaeWeights });

/** The codec of the training latents, unless the command line names another. */
function openSampleCodec({ record }: DiffusionModel, { vae, vaeWeights }: SamplingOptions): Promise<Codec> {
  const trained = record.data.latents.metadata['repa.model'];
  return openCodec({ vae: vae ?? trained, weights: vaeWeights });
}

/** @throws DataError when a codec is not of these latents */
function checkCodec({ name, channels }: Codec, { source, record }: DiffusionModel): void {
  const [own] = record.latent.shape;
  if (channels === own) return;
  throw new DataError(
    `${name} decodes latents of ${channels} channels, but those of ${source} have ${own}`,
    'Name their codec with --vae or --vae-weights, or take the latents themselves with --latents.',
  );
}
