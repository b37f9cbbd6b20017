/** How images were made, as the header of their stream tells it: part of every number that is measured on them. */
import { DataError } from '../errors.js';
import type { DecoderRecord } from '../pretrained/codec.js';

export interface ImageProtocol {
  /** Settings of the sampler, named as in describeSampler; null where the images do not tell. */
  sampler: Readonly<Record<string, unknown>> | null;
  /** Null where the images do not tell. */
  decoder: DecoderRecord | null;
}

/**
 * @param metadata of a stream of images; of anything else it is empty
 * @throws DataError when an entry is damaged
 */
export function imageProtocol(metadata: Readonly<Record<string, string>>): ImageProtocol {
  return {
    sampler: parsed(metadata, 'repa.sampler') as ImageProtocol['sampler'],
    decoder: parsed(metadata, 'repa.decoder') as ImageProtocol['decoder'],
  };
}

function parsed(metadata: Readonly<Record<string, string>>, name: string): unknown {
  const text = metadata[name];
  if (text === undefined) return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(`the header of the images: ${name}: ${(error as Error).message}`);
  }
}
