/** How verbs open the images that they read. */

import type { LabelList } from '../images/label-file.js';
import type { ImageInput } from '../images/open-images.js';
import type { Shard } from '../stream/shards.js';
import { say } from './terminal.js';

export interface ImageOptions {
  skipBad?: true;
  quiet?: true;
  shard?: Shard;
  /** The file of --labels. */
  labels?: string;
  /** Batch size of the network that reads the images: while it computes one batch, the next is decoded. */
  batchSize?: number;
}

async function labelList(file: string): Promise<LabelList> {
  const { readLabelFile } = await import('../images/label-file.js');
  return readLabelFile(file);
}

/**
 * Opens images, cropped to squares of `size` pixels if a size is given, and says on stderr what was left out. With
 * --skip-bad, each unreadable image is named there.
 */
export async function imageInput(
  input: string,
  size: number | undefined,
  { skipBad, quiet, shard, labels, batchSize = 1 }: ImageOptions,
): Promise<ImageInput> {
  const { openImages } = await import('../images/open-images.js');
  let skipped = 0;
  const source = await openImages(input, {
    shard,
    ...(labels === undefined ? {} : { labels: await labelList(labels) }),
    crop: size,
    ahead: 2 * batchSize,
    skip: (error) => {
      if (!skipBad) return false;
      skipped++;
      say(`skipped: ${error.message}`);
      return true;
    },
  });
  if (!quiet) for (const note of source.notes) say(`note: ${note}`);
  async function* counted() {
    yield* source.images;
    if (skipped > 0) say(`${skipped} ${skipped === 1 ? 'image' : 'images'} could not be read: left out`);
  }
  return { ...source, images: counted() };
}
