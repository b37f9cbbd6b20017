/** The thread of a batch loader: answers requests in their order. */
import { parentPort, workerData } from 'node:worker_threads';
import { RepaError } from '../../errors.js';
import type { ImagePlace, ImageReader } from '../../images/image-store.js';
import type { RgbImage } from '../../images/rgb-image.js';
import type { WorkerAnswer, WorkerRequest, WorkerSources } from './loader.js';
import { TrainingSet } from './set.js';

const { set: opened, cropSize } = workerData as WorkerSources;
const port = parentPort!;
let reader: ImageReader | undefined;
const set = TrainingSet.reopen(opened);

/** What decodes images is loaded only where there are some: it takes longer to start than the rest. */
async function cropsAt(places: readonly ImagePlace[]): Promise<RgbImage[]> {
  if (places.length === 0) return [];
  const { ImageReader } = await import('../../images/image-store.js');
  const { centerCrop } = await import('../../images/crop.js');
  const images = reader ?? new ImageReader();
  reader = images;
  return Promise.all(places.map(async (place) => centerCrop(await images.read(place), cropSize)));
}

async function answer({ rows, seed, step, position, withFeatures, images: places }: WorkerRequest): Promise<void> {
  try {
    const crops = await cropsAt(places);
    const batch = await set.read(rows, seed, step, position, withFeatures);
    const { classTokens, texts } = batch;
    const arrays = [
      batch.latents,
      batch.labels,
      ...batch.features,
      ...[classTokens, texts].filter((each) => each !== undefined),
    ];
    const buffers = arrays.map(({ buffer }) => buffer as ArrayBuffer);
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
