/** Opens the file of a set's latents: a stream of latents, or pictures whose pixels take their place. */
import { DataError } from '../../errors.js';
import { openTensorFile } from '../../stream/file.js';
import type { TensorColumn } from '../../stream/schema.js';
import { isPictureSet, type LatentFile, openPictures } from './pictures.js';

const isImages = ({ name }: TensorColumn): boolean => name === 'image';
export const isLatents = ({ name }: TensorColumn): boolean => name === 'moments' || name === 'latent';

/**
 * @param pixels the side that pictures are cropped to, where a path may hold these
 * @throws DataError when a stream holds something else, or nothing; UsageError for pictures without a side
 */
export async function openLatentFile(path: string, pixels?: number): Promise<LatentFile> {
  const file = isPictureSet(path) ? undefined : await openTensorFile(path);
  if (!file || (file.schema.columns.some(isImages) && !file.schema.columns.some(isLatents))) {
    await file?.close();
    return openPictures(path, pixels);
  }
  if (file.schema.columns.find(isLatents)?.shape.length !== 3) {
    const found = file.schema.columns.map(({ name }) => name).join(', ');
    throw new DataError(`${path}: has no latents, but ${found}`, 'Make latents with repa encode-vae.');
  }
  if (file.rows === 0) throw new DataError(`${path}: holds no rows`);
  return file;
}
