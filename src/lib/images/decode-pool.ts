/**
 * Threads that decode and crop pictures while the main thread is inside a network, which it does not leave before the
 * batch is computed.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
// Before any thread is: the library's shared objects must outlive the threads that use them.
import './quiet-vips.js';
import 'sharp';
import { DataError, MissingInputError } from '../errors.js';
import { PixelBudget } from './pixel-budget.js';
import type { RgbImage } from './rgb-image.js';

export interface DecodeTask {
  id: number;
  /** A path, or the bytes of a file. */
  source: string | Uint8Array;
  /** Names the picture in messages. */
  where: string;
  /** Side of the centre crop; the whole picture if absent. */
  crop: number | undefined;
}

export interface DecodeAnswer {
  id: number;
  image?: RgbImage;
  failure?: { name: string; message: string };
}

const MOST_THREADS = 8;
const budget = new PixelBudget();
const FAILURES: Record<string, new (message: string) => Error> = { DataError, MissingInputError };

interface Waiting {
  resolve: (image: RgbImage) => void;
  reject: (error: Error) => void;
}

/** One thread, and what it was asked and has not answered yet. It keeps the process alive only while there is such. */
class DecodeThread {
  readonly #worker = new Worker(new URL('./decode-worker.js', import.meta.url), { workerData: budget.shared });
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor() {
    this.#worker.unref();
    this.#worker.on('message', ({ id, image, failure }: DecodeAnswer) => {
      const waiting = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (this.#waiting.size === 0) this.#worker.unref();
      if (image) waiting.resolve(image);
      else waiting.reject(new (FAILURES[failure!.name] ?? Error)(failure!.message));
    });
    this.#worker.on('error', (error) => {
      threads.splice(threads.indexOf(this), 1);
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  get load(): number {
    return this.#waiting.size;
  }

  decode(source: string | Uint8Array, where: string, crop: number | undefined): Promise<RgbImage> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, source, where, crop } satisfies DecodeTask);
    });
  }
}

const threads: DecodeThread[] = [];

/** The least busy thread; a new one while all are busy and the machine has cores for more. */
function idlest(): DecodeThread {
  const best = threads.reduce<DecodeThread | undefined>((a, b) => (a && a.load <= b.load ? a : b), undefined);
  if (best && (best.load === 0 || threads.length >= Math.min(availableParallelism(), MOST_THREADS))) return best;
  const started = new DecodeThread();
  threads.push(started);
  return started;
}

/**
 * Decodes a picture in a thread, and cuts the centre crop of side `crop` from it if that is given.
 * @throws MissingInputError when there is no such file; DataError when it is not a sound picture.
 */
export const decodeInThread = (
  source: string | Uint8Array,
  where: string,
  crop: number | undefined,
): Promise<RgbImage> => idlest().decode(source, where, crop);
