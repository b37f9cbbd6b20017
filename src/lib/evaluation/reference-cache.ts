/** A cache of features and statistics of references, by the content of their images. */
import path from 'node:path';
import sharp from 'sharp';
import type { EngineInfo } from '../engine/engine.js';
import { engineInfo } from '../engine/index.js';
import { DataError, MissingInputError } from '../errors.js';
import { codeHash } from '../files/code-hash.js';
import { makeFolder } from '../files/folders.js';
import { homeFolder } from '../files/home.js';
import { sha256OfText } from '../files/sha256.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { openNpz } from '../formats/npz.js';
import type { Matrix } from '../linalg/matrix-product.js';
import {
  FEATURE_KINDS,
  hasStatistics,
  readOrigin,
  readStatistics,
  type StatisticsOrigin,
  writeStatistics,
} from '../metrics/statistics-file.js';
import { version } from '../version.js';
import { contentHash } from './content-hash.js';
import type { FeatureSet, Need } from './feature-set.js';

/** The array of the features themselves, beside their statistics: [N, D] f32. */
const FEATURES = 'features';

/** What a reference's features depend on besides its images. */
export interface ReferenceKey {
  input: string;
  origin: StatisticsOrigin;
  /** Whether unreadable images are left out. */
  skipBad: boolean;
}

/** The file of a reference's features, named by a hash of all facts that they depend on. */
export async function cacheFile(key: ReferenceKey): Promise<string> {
  const folder = homeFolder('cache');
  const { threads: _threads, ...engine } = engineInfo();
  const facts: CacheFacts = {
    images: await contentHash(key.input, folder),
    origin: key.origin,
    skipBad: key.skipBad,
    engine,
    decoder: sharp.versions,
    code: codeHash(),
    version,
  };
  return path.join(folder, cacheName(facts));
}

export const cacheName = (facts: CacheFacts): string =>
  `reference-${sha256OfText(JSON.stringify(facts)).slice(0, 32)}.npz`;

/** All that the features of a reference depend on. */
export interface CacheFacts {
  /** Hash of the content of its files. */
  images: string;
  /** The network by the content of its weights, its output, normalisation, positions, the resize and the size. */
  origin: StatisticsOrigin;
  skipBad: boolean;
  /** The backend and its version; not its threads, in which results differ by rounding alone. */
  engine: Omit<EngineInfo, 'threads'>;
  /** The libraries that decode pictures. */
  decoder: typeof sharp.versions;
  /** Hash of our own code. */
  code: string;
  version: string;
}

/**
 * Loads what is needed from `file` into `set`.
 * @returns false, with nothing loaded, when it does not exist, does not hold all that is needed, or is damaged
 */
export function useCached(file: string, needs: Iterable<Need>, set: FeatureSet): boolean {
  try {
    const archive = openNpz(file);
    try {
      const held = new Set<Need>(FEATURE_KINDS.filter((kind) => hasStatistics(archive, kind)));
      if (archive.has(FEATURES)) held.add('rows');
      const wanted = [...needs];
      if (!wanted.every((need) => held.has(need))) return false;
      const gaussians = FEATURE_KINDS.filter((kind) => wanted.includes(kind)).map(
        (kind) => [kind, readStatistics(archive, file, kind)] as const,
      );
      const rows = wanted.includes('rows') ? matrixOf(archive.read(FEATURES)) : undefined;
      set.resized = readOrigin(archive, file)?.resized ?? 0;
      for (const [kind, gaussian] of gaussians) set.use(kind, gaussian);
      if (rows) set.useRows(rows);
      return true;
    } finally {
      archive.close();
    }
  } catch (error) {
    // Missing the first time; a damaged file is made again.
    if (error instanceof DataError || error instanceof MissingInputError) return false;
    throw error;
  }
}

/**
 * Caches what was computed from a set's images, but not statistics that came from a file.
 * @returns what went wrong, since a cache that cannot be written is no reason to lose the measurement
 */
export async function keep(file: string, set: FeatureSet, origin: StatisticsOrigin): Promise<string | undefined> {
  try {
    makeFolder(path.dirname(file));
    const rows = set.rows();
    const more: [string, HostTensor][] = rows
      ? [[FEATURES, { shape: [rows.rows, rows.columns], dtype: 'f32', data: rows.data }]]
      : [];
    await writeStatistics(file, set.source ? {} : set.gaussians(), { ...origin, resized: set.resized }, more);
    return undefined;
  } catch (error) {
    return `the features of the reference could not be cached: ${(error as Error).message}`;
  }
}

function matrixOf({ shape, data }: HostTensor): Matrix<Float32Array> {
  if (data instanceof Float32Array) return { rows: shape[0], columns: shape[1], data };
  throw new DataError(`${FEATURES} are not f32`);
}
