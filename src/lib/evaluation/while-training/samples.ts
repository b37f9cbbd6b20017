/**
 * Samples of a run while it trains: a sheet of pictures, from the same noise each time, and a distance to a reference.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { UsageError } from '../../errors.js';
import { makeFolder } from '../../files/folders.js';
import { missingInput } from '../../files/missing.js';
import { portablePath } from '../../files/portable-path.js';
import { contactSheet, writePng } from '../../images/png.js';
import type { RgbImage } from '../../images/rgb-image.js';
import type { Gaussian } from '../../metrics/statistics.js';
import { anyRank } from '../../parallel/group.js';
import { type Codec, checkStandardised, decoderRecord, openCodec, statisticsFor } from '../../pretrained/codec.js';
import { type FeatureNetwork, openFeatureNetwork } from '../../pretrained/feature-network.js';
import { describeLabels, labelPlan } from '../../sampling/labels.js';
import type { DiffusionModel } from '../../sampling/model.js';
import { samplingNetworks } from '../../sampling/networks.js';
import { Prompts } from '../../sampling/prompts.js';
import { type SampleJob, sampleImages } from '../../sampling/sample.js';
import { describeSampler, type SamplerSettings, settleSampler } from '../../sampling/settings.js';
import { rangeOf } from '../../stream/shards.js';
import type { Measure, MonitoredRun } from '../../training/monitor.js';
import { FeatureSet } from '../feature-set.js';
import { measureReference } from '../measure.js';
import { METRICS } from '../scores.js';
import type { MonitorInputs } from './inputs.js';
import { type MonitorOptions, sampleCounts } from './options.js';
import { gaussianOverRanks } from './rank-statistics.js';

/** Those of `repa sample`, so that it gives the same pictures of a checkpoint. */
const SAMPLE_SEED = 0;
const ROUNDING = 'truncate';

/** The reference that samples are compared with. */
interface Comparison {
  name: string;
  network: FeatureNetwork;
  /** Features of the reference; on the first rank alone, which compares. */
  reference: FeatureSet | undefined;
}

const POOLED = new Set(['pooled'] as const);

export class SampleMeasure implements Measure {
  readonly name = 'samples';
  readonly #run: MonitoredRun;
  readonly #model: DiffusionModel;
  readonly #settings: SamplerSettings;
  readonly #decoder: Codec;
  readonly #comparison: Comparison | undefined;
  /** For a network that draws from text. */
  readonly #prompts: Prompts | undefined;
  /** The stream of the prompts. */
  readonly #text: string | undefined;
  readonly #pictures: number;
  readonly #compared: number;
  readonly #batch: number;

  private constructor(
    run: MonitoredRun,
    model: DiffusionModel,
    decoder: Codec,
    comparison: Comparison | undefined,
    prompts: Prompts | undefined,
    options: MonitorOptions,
  ) {
    const { pictures, compared } = sampleCounts(options);
    this.#run = run;
    this.#model = model;
    this.#decoder = decoder;
    this.#comparison = comparison;
    this.#prompts = prompts;
    this.#text = options.evalText;
    this.#settings = settleSampler(model, { ...options.evalSampler, seed: SAMPLE_SEED });
    this.#pictures = pictures;
    this.#compared = compared;
    this.#batch = options.evalBatchSize;
  }

  /** @throws UnavailableError for weights that are not here; MissingInputError when there is no reference */
  static async open(options: MonitorOptions, run: MonitoredRun, inputs: MonitorInputs): Promise<SampleMeasure> {
    const { store, record, group, out } = run;
    const { compared } = sampleCounts(options);
    if (compared > 0 && compared < 2 * group.size) {
      throw new UsageError(`--eval-num ${compared}: each of ${group.size} ranks samples two images at least`);
    }
    if (compared > 0 && !existsSync(options.evalRef!)) {
      throw missingInput(options.evalRef!, 'file or folder', 'It is what --eval-ref names.');
    }
    const { metadata } = record.data.latents;
    const vae = metadata['repa.model'];
    const statistics = statisticsFor(metadata, options.evalVaeStatistics);
    const decoder = await openCodec({ vae, weights: options.evalVaeWeights, statistics });
    checkStandardised(decoder, metadata, vae ?? 'the run');
    const model = { source: out, record, parameters: store.emaTensors };
    const side = record.model.inputSize * decoder.downsampling;
    const comparison = compared > 0 ? await openComparison(options, side, group.rank === 0, inputs) : undefined;
    const prompts = await Prompts.open({ text: options.evalText, option: '--eval-text' }, model);
    return new SampleMeasure(run, model, decoder, comparison, prompts, options);
  }

  async run(step: number): Promise<Record<string, unknown> | undefined> {
    const prompts = this.#prompts;
    const networks = samplingNetworks(this.#model, this.#settings, { constants: 'feed', ...(prompts && { prompts }) });
    try {
      const { record } = this.#model;
      const labels = labelPlan(undefined, record);
      const sampled = await this.#sample({
        model: this.#model,
        networks,
        settings: this.#settings,
        decoder: this.#decoder,
        labels,
        prompts,
        rounding: ROUNDING,
      });
      if (!sampled) return undefined;
      const { sheet, seen } = sampled;
      const { group, out } = this.#run;
      const gaussian = this.#comparison && gaussianOverRanks(group, counted(seen.gaussian('pooled')!));
      if (group.rank > 0) return {};
      return {
        ...(sheet.length > 0 ? { picture: await writeSheet(out, step, sheet) } : {}),
        ...(gaussian ? this.#compare(gaussian) : {}),
        sampler: {
          ...describeSampler(this.#settings),
          labels: prompts ? 'text' : describeLabels(labels),
          ...(this.#text !== undefined && { text: portablePath(this.#text), prompts: prompts?.count }),
          weights: `ema ${this.#run.record.training.emaDecays[0]}`,
        },
        decoder: decoderRecord(this.#decoder, ROUNDING),
      };
    } finally {
      networks.dispose();
    }
  }

  /** This rank's share of the images; undefined when a signal came to any rank. */
  async #sample(job: SampleJob): Promise<{ sheet: RgbImage[]; seen: FeatureSet } | undefined> {
    const { group, shouldStop } = this.#run;
    const { first, end } = rangeOf({ index: group.rank, count: group.size }, this.#compared);
    const pictures = group.rank === 0 ? this.#pictures : 0; // the first rank has the first images
    const last = Math.max(end, pictures);
    const most = Math.max(Math.ceil(this.#compared / group.size), this.#pictures); // the most of any rank: all of them ask as often whether to stop
    const sheet: RgbImage[] = [];
    const seen = new FeatureSet(POOLED);
    for (let done = 0; done < most; done += this.#batch) {
      await nextTurn(); // sampling never yields: signals are heard here
      if (anyRank(group, shouldStop())) return undefined;
      const start = first + done;
      const count = Math.max(0, Math.min(this.#batch, last - start));
      if (count === 0) continue;
      const indices = Array.from({ length: count }, (_, row) => start + row);
      const images = (await sampleImages(job, indices)).map(({ image }) => image!);
      sheet.push(...images.slice(0, Math.max(0, pictures - start)));
      const compared = images.slice(0, Math.max(0, end - start));
      if (this.#comparison && compared.length > 0) {
        seen.add(compared.length, this.#comparison.network.features(compared));
      }
    }
    return { sheet, seen };
  }

  /** The distance, with what fid says of how it was measured. */
  #compare(gaussian: Gaussian): Record<string, unknown> {
    const { name, network, reference } = this.#comparison!;
    const samples = new FeatureSet(POOLED);
    samples.use('pooled', gaussian);
    const context = { distance: network.distance, otherNetwork: network.name, seed: SAMPLE_SEED, kidSubsets: 1 };
    const [{ metric, value }] = METRICS.fid.scores(samples, reference, context);
    return {
      [metric]: value,
      count: gaussian.count,
      reference: name,
      reference_count: reference!.gaussian('pooled')!.count,
      image_size: this.#model.record.model.inputSize * this.#decoder.downsampling,
      network: network.name,
      network_sha256: network.sha256,
      resize: network.resize,
    };
  }

  dispose(): void {
    this.#prompts?.close();
    this.#decoder.dispose();
    this.#comparison?.network.dispose();
  }
}

async function openComparison(
  options: MonitorOptions,
  side: number,
  measures: boolean,
  inputs: MonitorInputs,
): Promise<Comparison> {
  const { evalNetwork, evalRef, evalBatchSize: batchSize } = options;
  const network = await openFeatureNetwork({
    ...evalNetwork,
    resize: 'adm',
    batchSize,
  });
  const set = { ...inputs, batchSize, cache: true };
  const request = { input: evalRef!, size: side, needs: POOLED };
  const reference = measures ? await measureReference(request, network, set, []) : undefined;
  return { name: evalRef!, network, reference };
}

const counted = ({ count, ...gaussian }: Gaussian): Gaussian & { count: number } => ({ ...gaussian, count: count! });

/** @returns the picture's path within the run's folder */
async function writeSheet(out: string, step: number, images: readonly RgbImage[]): Promise<string> {
  const name = path.join('samples', `step-${String(step).padStart(8, '0')}.png`);
  makeFolder(path.join(out, 'samples'));
  await writePng(path.join(out, name), contactSheet(images));
  return name;
}
