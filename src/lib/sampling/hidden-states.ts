/** What a diffusion transformer makes of noisy latents on the way: the tokens after chosen blocks, at chosen times. */
import { DDPM_STEPS, ddpmSchedule } from '../diffusion/ddpm-schedule.js';
import type { TrainingBatch } from '../diffusion/draws.js';
import { interpolants } from '../diffusion/interpolant.js';
import { interpolate } from '../diffusion/interpolate.js';
import { type Captured, capture, tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { channelTimes } from '../models/channel-times.js';
import { fillNormal, PURPOSE } from '../numbers/random.js';
import { joinRows } from '../numbers/typed-array.js';
import { prefixTokens } from '../repa/network.js';
import type { RunRecord } from '../training/record.js';
import { type DiffusionModel, forward, stateSize } from './model.js';

export interface HiddenRequest {
  /** 1 is the first block. */
  blocks: readonly number[];
  times: readonly number[];
  batchSize: number;
  seed: number;
}

/** Tokens of one block at one time. */
export interface HiddenStates {
  block: number;
  time: number;
  tokens: Float32Array; // [B, T, D]
}

export class HiddenStateExtractor {
  readonly #model: DiffusionModel;
  readonly #request: HiddenRequest;
  readonly #program: Captured;

  /** @throws UsageError for a block that the model does not have */
  constructor(model: DiffusionModel, request: HiddenRequest) {
    const { record } = model;
    const { depth } = record.model;
    const missing = request.blocks.find((block) => block > depth);
    if (missing !== undefined) throw new UsageError(`there is no block ${missing}: the model has 1 to ${depth}`);
    this.#model = model;
    this.#request = request;
    const prefix = prefixTokens(record);
    const patchTokens = (tokens: tf.Tensor): tf.Tensor =>
      prefix > 0 ? tf.slice(tokens, [0, prefix, 0], [-1, -1, -1]) : tokens; // [B, T, D]
    this.#program = capture(
      (x, t, y) => {
        const { hidden } = forward(model, x, t, y);
        return request.blocks.map((block) => patchTokens(hidden[block - 1])); // [B, T, D] each
      },
      [
        { shape: [request.batchSize, stateSize(record)], dtype: 'float32' },
        { shape: [request.batchSize], dtype: 'float32' },
        record.model.text
          ? { shape: [request.batchSize, record.model.text.tokens, record.model.text.dim], dtype: 'float32' }
          : { shape: [request.batchSize], dtype: 'int32' },
      ],
      { byRow: true },
    );
  }

  /**
   * Hidden states of one batch, block by block for each time.
   * @param batch latents, scaled, and what is generated with them
   * @param labels [batchSize]; of a network that draws from text, vectors of captions [batchSize, L, D]
   * @param firstRow number of the first image: each image's noise depends on it and the seed alone, and is the same at
   *   every time
   */
  *states(
    batch: Pick<TrainingBatch, 'latents' | 'classTokens'>,
    labels: Int32Array | Float32Array,
    firstRow: number,
  ): Generator<HiddenStates> {
    const { batchSize, blocks, times, seed } = this.#request;
    const { latents, classTokens } = batch;
    const states = classTokens ? joinRows(latents, classTokens, batchSize) : latents; // [B, S]
    const size = states.length / batchSize;
    const noise = new Float32Array(states.length);
    for (let row = 0; row < batchSize; row++) {
      fillNormal(noise.subarray(row * size, (row + 1) * size), seed, PURPOSE.probe, firstRow + row);
    }
    for (const time of times) {
      const { xT, t } = noisyStates(this.#model.record, states, noise, time);
      const outputs = this.#program.run(xT, new Float32Array(batchSize).fill(t), labels);
      for (const [i, block] of blocks.entries()) yield { block, time, tokens: outputs[i] as Float32Array };
    }
  }

  dispose(): void {
    this.#program.dispose();
  }
}

/** States with noise, [B, S] each, and what the network is told of the time, which for DiT is the step of DDPM. */
function noisyStates(record: RunRecord, states: Float32Array, noise: Float32Array, time: number) {
  const { path } = record.training;
  if (record.architecture === 'SiT' && (path === 'geodesic' || record.model.lead)) {
    const [, height, width] = record.latent.shape;
    const shape = [-1, record.model.inChannels, height, width];
    const xT = tf.tidy(() => {
      const [x, e] = [states, noise].map((values) => tf.reshape(tf.tensor(values), shape)); // [B, C, h, w]
      const times = channelTimes(record.model, tf.fill([x.shape[0]], time));
      return interpolate(path, x, e, times).xT.dataSync<'float32'>();
    });
    return { xT, t: time };
  }
  const { alpha, sigma, t } =
    record.architecture === 'SiT' && path !== 'geodesic' ? { ...interpolants[path](time), t: time } : stepOfNoise(time);
  return { xT: states.map((value, i) => alpha * value + sigma * noise[i]), t };
}

/** x_t = alpha x + sigma e of DDPM. */
function stepOfNoise(time: number): { alpha: number; sigma: number; t: number } {
  const step = Math.min(DDPM_STEPS - 1, Math.floor(time * DDPM_STEPS));
  const product = ddpmSchedule().alphasCumprod[step];
  return { alpha: Math.sqrt(product), sigma: Math.sqrt(1 - product), t: step };
}
