/** Room on the disk, and sizes in words. */
import { existsSync, statfsSync } from 'node:fs';
import { totalmem } from 'node:os';
import path from 'node:path';

/** Bytes that are free where a file or folder is, or is to be. */
export function freeBytes(file: string): number {
  let place = path.resolve(file);
  while (!existsSync(place) && path.dirname(place) !== place) place = path.dirname(place);
  const { bavail, bsize } = statfsSync(place);
  return bavail * bsize;
}

/** Bytes of memory that this process may come to have: the machine's, or what a container lets it take. */
export function machineMemory(): number {
  const limit = process.constrainedMemory();
  return limit ? Math.min(limit, totalmem()) : totalmem();
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `1.3 GB`: powers of ten, as disks are sold. */
export function showBytes(bytes: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? value.toFixed(0) : value.toPrecision(2)} ${UNITS[power]}`;
}
