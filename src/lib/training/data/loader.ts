/**
 * Batches that are ready before their step. A step keeps the event loop busy from start to end, so another thread
 * reads, checks and converts the next batches meanwhile, and decodes images where features are computed.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { PlacedBatch, TrainingBatch } from '../../diffusion/draws.js';
import { RepaError } from '../../errors.js';
import type { ImagePlace } from '../../images/image-store.js';
import type { RgbImage } from '../../images/rgb-image.js';
import type { ProcessGroup } from '../../parallel/group.js';
import { divideBatch } from '../ranks.js';
import { imagesBefore, type RunRecord } from '../record.js';
import type { Stopwatch } from '../stopwatch.js';
import type { OpenedSet, TrainingSet } from './set.js';

/** What `TrainingSet.read` is asked for. */
export interface BatchRequest {
  rows: Uint32Array;
  seed: number;
  step: number;
  position: number;
  withFeatures: boolean;
}

/** The micro-batches of this rank from one step to another, in their order. */
export function* microBatches(
  set: TrainingSet,
  record: RunRecord,
  group: ProcessGroup,
  { from, to, follows }: { from: number; to: number; follows(step: number): boolean },
): Generator<BatchRequest> {
  const { batchSize, seed } = record.training;
  const { first, microBatch, passes } = divideBatch(record.training, group);
  for (let step = from; step < to; step++) {
    const all = set.latents.rowsAfter(imagesBefore(record, step), batchSize, seed);
    for (let pass = 0; pass < passes; pass++) {
      const position = first + pass * microBatch;
      const rows = all.slice(position, position + microBatch);
      yield { rows, seed, step, position, withFeatures: follows(step) };
    }
  }
}

export interface WorkerRequest extends BatchRequest {
  images: readonly ImagePlace[];
}

export interface WorkerSources {
  set: OpenedSet;
  /** Side that images are cropped to. */
  cropSize: number;
}

/**
 * What the thread answers: a batch, with crops of its images if their features are still to be computed; or an error.
 */
export type WorkerAnswer =
  | { batch: TrainingBatch; crops: RgbImage[] }
  | { error: { message: string; hint?: string; exitCode?: number; code?: string; path?: string } };

/** Batches that are ready or in the making, besides the one in use. */
const AHEAD = 2;

export class BatchLoader {
  readonly #set: TrainingSet;
  readonly #requests: Iterator<BatchRequest>;
  readonly #worker: Worker;
  readonly #asked: BatchRequest[] = [];
  readonly #answers: WorkerAnswer[] = [];

  /** @param requests the batches that will be asked for, in this order */
  constructor(set: TrainingSet, requests: Iterator<BatchRequest>) {
    this.#set = set;
    this.#requests = requests;
    const workerData: WorkerSources = { set: set.opened, cropSize: set.computed?.cropSize ?? 0 };
    this.#worker = new Worker(new URL('./worker.js', import.meta.url), { workerData });
    this.#worker.on('message', (answer: WorkerAnswer) => this.#answers.push(answer));
    for (let i = 0; i < AHEAD; i++) this.#request();
  }

  /** The next batch, with its features where they are computed. @throws what reading it threw */
  async next(watch: Stopwatch): Promise<PlacedBatch> {
    const { batch, crops } = await watch.time('data', () => this.#answer());
    const computed = this.#set.computed;
    const features = crops.length > 0 ? await watch.time('encoder', () => [computed!.encode(crops)]) : batch.features;
    const { rows, seed, step, position } = this.#asked.shift()!;
    return { ...batch, features, rows: rows.length, seed, step, position };
  }

  async #answer(): Promise<Exclude<WorkerAnswer, { error: object }>> {
    while (this.#answers.length === 0) await once(this.#worker, 'message');
    const answer = this.#answers.shift()!;
    if ('error' in answer) throw revived(answer.error);
    this.#request();
    return answer;
  }

  #request(): void {
    const { value, done } = this.#requests.next();
    if (done) return;
    this.#asked.push(value);
    const images = value.withFeatures ? this.#set.imagesOf(value.rows) : [];
    this.#worker.postMessage({ ...value, images } satisfies WorkerRequest);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** An error as it was thrown in the thread: on the way it loses its class. */
function revived({ message, hint, exitCode, ...system }: Extract<WorkerAnswer, { error: object }>['error']): Error {
  if (exitCode !== undefined) return new RepaError(exitCode, message, hint);
  return Object.assign(new Error(message), system);
}
