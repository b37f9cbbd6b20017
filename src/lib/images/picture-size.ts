/** Sides of a picture, from its header. */
import { readFile } from 'node:fs/promises';
import './quiet-vips.js';
import sharp from 'sharp';
import { pictureFormat } from './signature.js';

/** Undefined for what is no picture of a format that is read here. @param source a path, or the bytes of a file */
export async function pictureSize(source: string | Uint8Array): Promise<{ width: number; height: number } | undefined> {
  const bytes = typeof source === 'string' ? await readFile(source) : source;
  if (!pictureFormat(bytes)) return undefined;
  try {
    const { width, height } = await sharp(bytes).metadata();
    return { width, height };
  } catch {
    return undefined; // damaged: decoding it would tell how
  }
}
