/**
 * `index.json` in a shard folder: where the batches of each part lie, so that opening a large folder again hops over no
 * headers. It is a hint that can be removed at any time: an entry counts only while the part has the size and time it
 * was made for, and every batch is compared with its entry before its rows are used. It is written after all parts
 * were seen to have equal fields and unique keys.
 */
import fs from 'node:fs';
import path from 'node:path';
import { writeFileAtomic, writeFully } from '../files/atomic-file.js';
import { crc32, showCrc } from '../files/crc32.js';
import type { BatchPlace } from './file-index.js';
import type { PositionedFile } from './positioned-file.js';

const VERSION = 1;

type PlaceRow = [at: number, headBytes: number, row: number, rows: number, keyBytes: number];

interface CachedPart {
  size: number;
  mtimeMs: number;
  rows: number;
  batches: PlaceRow[];
}

interface IndexFile {
  version: number;
  /** Of the JSON text of `parts`. */
  crc32: string;
  parts: Record<string, CachedPart>;
}

const indexPath = (folder: string): string => path.join(folder, 'index.json');

const isCurrent = (part: CachedPart | undefined, file: PositionedFile): part is CachedPart =>
  part?.size === file.size && part.mtimeMs === file.mtimeMs;

const checksum = (parts: IndexFile['parts']): string => showCrc(crc32(Buffer.from(JSON.stringify(parts))));

function parseIndex(folder: string): IndexFile | undefined {
  try {
    const parsed: IndexFile | null = JSON.parse(fs.readFileSync(indexPath(folder), 'utf8'));
    return parsed?.version === VERSION && parsed.crc32 === checksum(parsed.parts) ? parsed : undefined;
  } catch {
    return undefined; // absent or damaged: it will be made again
  }
}

/** The batches of each of these parts, or undefined unless the index is there and right for all of them. */
export function readIndexCache(folder: string, files: readonly PositionedFile[]): BatchPlace[][] | undefined {
  const index = parseIndex(folder);
  if (!index) return undefined;
  const places: BatchPlace[][] = [];
  for (const file of files) {
    const part = index.parts[path.basename(file.name)];
    if (!isCurrent(part, file)) return undefined;
    places.push(part.batches.map(([at, headBytes, row, rows, keyBytes]) => ({ at, headBytes, row, rows, keyBytes })));
  }
  return places;
}

/** Writes the index; a folder that cannot be written to is read without one. */
export function writeIndexCache(
  folder: string,
  files: readonly PositionedFile[],
  places: readonly BatchPlace[][],
): void {
  const entries = files.map((file, i): [string, CachedPart] => {
    const batches = places[i].map(
      ({ at, headBytes, row, rows, keyBytes }): PlaceRow => [at, headBytes, row, rows, keyBytes],
    );
    const rows = places[i].reduce((sum, place) => sum + place.rows, 0);
    return [path.basename(file.name), { size: file.size, mtimeMs: file.mtimeMs, rows, batches }];
  });
  const parts = Object.fromEntries(entries);
  const index: IndexFile = { version: VERSION, crc32: checksum(parts), parts };
  try {
    writeFileAtomic(indexPath(folder), (fd) => writeFully(fd, Buffer.from(`${JSON.stringify(index)}\n`)));
  } catch {
    // Not ours to write to, or the disk is full: neither keeps anyone from reading.
  }
}
