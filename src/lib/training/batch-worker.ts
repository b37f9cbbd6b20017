/** The thread of a batch loader: answers requests in their order. */
import { parentPort, workerData } from 'node:worker_threads';
import { RepaError } from '../errors.js';
import { centerCrop } from '../images/crop.js';
import { type ImagePlace, ImageReader } from '../images/image-store.js';
import type { RgbImage } from '../images/rgb-image.js';
import type { WorkerAnswer, WorkerRequest, WorkerSources } from './batch-loader.js';
import { TrainingSet } from './dataset.js';

const { set: opened, cropSize } = workerData as WorkerSources;
const port = parentPort!;
const images = new ImageReader();
const set = TrainingSet.reopen(opened);

const crop = async (place: ImagePlace): Promise<RgbImage> => centerCrop(await images.read(place), cropSize);

async function answer({ rows, seed, step, position, withFeatures, images: places }: WorkerRequest): Promise<void> {
  try {
    const crops = await Promise.all(places.map(crop));
    const batch = await set.read(rows, seed, step, position, withFeatures);
    const buffers = [batch.latents, batch.labels, ...batch.features].map(({ buffer }) => buffer as ArrayBuffer);
    port.postMessage({ batch, crops } satisfies WorkerAnswer, buffers);
  } catch (error) {
    port.postMessage({ error: described(error as Error) } satisfies WorkerAnswer);
  }
}

function described(error: Error): Extract<WorkerAnswer, { error: object }>['error'] {
  const { code, path } = error as NodeJS.ErrnoException;
  const { message } = error;
  return error instanceof RepaError ? { message, hint: error.hint, exitCode: error.exitCode } : { message, code, path };
}

let last = Promise.resolve();
port.on('message', (request: WorkerRequest) => {
  last = last.then(() => answer(request));
});
