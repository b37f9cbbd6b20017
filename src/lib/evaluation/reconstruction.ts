/** How close the images that a codec reconstructs are to their originals, image by image. */
import { DataError } from '../errors.js';
import { centerCrop } from '../images/crop.js';
import type { DecodedImage } from '../images/decode-images.js';
import type { ImageInput } from '../images/open-images.js';
import { meanSquaredError, peakSignalToNoise } from '../metrics/psnr.js';

export interface ReconstructionScore {
  /** The mean over the images that differ from their originals, in dB; null when none does. */
  psnr: number | null;
  /** The ratio for the mean error of all images, in dB; null when there is no error. */
  psnr_of_mean: number | null;
  count: number;
  /** Images without an error, whose ratio is infinite. */
  equal: number;
  /** The smallest ratio, and the key of its image. */
  worst: { key: string; psnr: number } | null;
}

/**
 * Goes through both sets side by side. An original of another size is cropped to the image's square, as encode-vae does
 * it.
 *
 * @param advance called after each image
 * @throws DataError where keys differ, one set ends before the other, or there is no image
 */
export async function scoreReconstruction(
  images: ImageInput,
  originals: ImageInput,
  advance: () => void,
): Promise<ReconstructionScore> {
  const others = originals.images[Symbol.asyncIterator]();
  let [count, equal, errors, ratios] = [0, 0, 0, 0];
  let worst: ReconstructionScore['worst'] = null;
  for await (const image of images.images) {
    const original = pairOf(image, await others.next(), count);
    const error = meanSquaredError(image.image.data, fitted(original, image));
    count++;
    errors += error;
    if (error === 0) equal++;
    else {
      const psnr = peakSignalToNoise(error);
      ratios += psnr;
      if (worst === null || psnr < worst.psnr) worst = { key: image.key, psnr };
    }
    advance();
  }
  const rest = await others.next();
  if (!rest.done) {
    throw new DataError(`the images end after ${count}, the originals go on with '${rest.value.key}'`, SAME_IMAGES);
  }
  if (count === 0) throw new DataError('there are no images to compare');
  return {
    psnr: count === equal ? null : ratios / (count - equal),
    psnr_of_mean: errors === 0 ? null : peakSignalToNoise(errors / count),
    count,
    equal,
    worst,
  };
}

const SAME_IMAGES = 'Compare what was decoded with the set that was encoded, whole and in its order.';

function pairOf({ key }: DecodedImage, { done, value }: IteratorResult<DecodedImage>, row: number): DecodedImage {
  if (done) throw new DataError(`the originals end after ${row}, the images go on with '${key}'`, SAME_IMAGES);
  if (value.key === key) return value;
  throw new DataError(`row ${row} is '${key}' of the images, but '${value.key}' of the originals`, SAME_IMAGES);
}

/** The original's pixels, in the size of its image. */
function fitted({ image: original, key }: DecodedImage, { image: { width, height } }: DecodedImage): Uint8Array {
  if (original.width === width && original.height === height) return original.data;
  if (width === height) return centerCrop(original, width).data;
  throw new DataError(
    `'${key}' has ${width}x${height} pixels, its original ${original.width}x${original.height}`,
    'Only squares are compared with originals of another size.',
  );
}
