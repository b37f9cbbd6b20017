/**
 * The chain of a stream's messages. Each batch carries the link of all that came before it, so that a batch of another
 * stream, whose rows and columns fit, is refused as one that was left out, doubled or moved is. The links follow from
 * the content: the same rows make the same bytes, and only two streams that are equal up to a batch can exchange it.
 *
 *     link 0   = digest(the schema message, its checksum's digits read as 0)
 *     link n+1 = digest(link n, repa.crc32.head of batch n, repa.crc32 of batch n)
 *
 * with digest the first 16 hexadecimal digits of SHA-256.
 */
import { createHash } from 'node:crypto';

const DIGITS = 16;

function digest(...pieces: (Uint8Array | string)[]): string {
  const hash = createHash('sha256');
  for (const piece of pieces) hash.update(piece);
  return hash.digest('hex').slice(0, DIGITS);
}

/** The link that the first batch carries. @param message the pieces of the schema message, its digits blanked */
export const firstLink = (...message: Uint8Array[]): string => digest(...message);

/** The link that the batch after one with these checksums carries. */
export const nextLink = (link: string, headCrc: string, bodyCrc: string): string => digest(link, headCrc, bodyCrc);
