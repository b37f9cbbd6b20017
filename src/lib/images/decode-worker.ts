/** A thread of the pool in decode-pool.ts: decodes and crops pictures, one after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { RepaError } from '../errors.js';
import { centerCrop } from './crop.js';
import { decodeImage } from './decode.js';
import type { DecodeAnswer, DecodeTask } from './decode-pool.js';
import { PixelBudget } from './pixel-budget.js';

const budget = new PixelBudget(workerData as SharedArrayBuffer);

async function answer({ id, source, where, crop }: DecodeTask): Promise<void> {
  try {
    const decoded = await decodeImage(source, where, budget);
    const { width, height, data } = crop === undefined ? decoded : centerCrop(decoded, crop);
    const own = new Uint8Array(data); // sharp's memory cannot be handed over
    parentPort!.postMessage({ id, image: { width, height, data: own } } satisfies DecodeAnswer, [own.buffer]);
  } catch (error) {
    const { name, message } = error as Error;
    const failure = { name: error instanceof RepaError ? name : 'Error', message };
    parentPort!.postMessage({ id, failure } satisfies DecodeAnswer);
  }
}

// One at a time, so that few pictures of full size are in memory.
let last = Promise.resolve();
parentPort!.on('message', (task: DecodeTask) => {
  last = last.then(() => answer(task));
});
