/** Merges the statistics of parts of a set of images into those of the whole. */
import { DataError } from '../errors.js';
import { openNpz } from '../formats/npz.js';
import { FeatureStatistics } from '../metrics/statistics.js';
import {
  FEATURE_KINDS,
  type FeatureKind,
  hasStatistics,
  preprocessDifference,
  readOrigin,
  readStatistics,
  type StatisticsOrigin,
  writeStatistics,
} from '../metrics/statistics-file.js';

type Statistics = Map<FeatureKind, FeatureStatistics>;

/**
 * Merges .npz files of statistics exactly, as if all their images had been measured at once.
 * @returns the number of images
 * @throws DataError when the files were not made in the same way, or one does not say of how many images it is
 */
export async function mergeStatistics(inputs: readonly string[], output: string): Promise<number> {
  const [first, ...others] = inputs;
  const whole = readParts(first);
  for (const input of others) {
    const part = readParts(input);
    const difference = differenceOf(whole, part);
    if (difference) throw new DataError(`${input} cannot be merged with ${first}: ${difference}`);
    for (const [kind, statistics] of part.statistics) whole.statistics.get(kind)!.merge(statistics);
    if (whole.origin && part.origin) whole.origin.resized += part.origin.resized;
  }
  const gaussians = [...whole.statistics].map(([kind, statistics]) => [kind, statistics.gaussian()] as const);
  await writeStatistics(output, Object.fromEntries(gaussians), whole.origin);
  return gaussians[0][1].count!;
}

interface Parts {
  statistics: Statistics;
  origin: StatisticsOrigin | undefined;
}

function readParts(input: string): Parts {
  const archive = openNpz(input);
  try {
    const kinds = FEATURE_KINDS.filter((kind) => hasStatistics(archive, kind));
    if (kinds.length === 0) {
      throw new DataError(`${input}: holds no statistics`, 'repa fid --save-stats makes such files.');
    }
    const statistics: Statistics = new Map();
    for (const kind of kinds) {
      const { count, ...gaussian } = readStatistics(archive, input, kind);
      if (count === undefined) {
        throw new DataError(`${input}: does not say of how many images it is, so that it cannot be weighted`);
      }
      statistics.set(kind, FeatureStatistics.from({ ...gaussian, count }));
    }
    return { statistics, origin: readOrigin(archive, input) };
  } finally {
    archive.close();
  }
}

/** Why two files cannot be merged; undefined if they can. */
function differenceOf(a: Parts, b: Parts): string | undefined {
  const kinds = ({ statistics }: Parts): string => [...statistics.keys()].join(' and ');
  if (kinds(a) !== kinds(b)) return `it holds ${kinds(b)} features, not ${kinds(a)}`;
  for (const [kind, { dims }] of a.statistics) {
    const other = b.statistics.get(kind)!.dims;
    if (other !== dims) return `its ${kind} features are ${other}, not ${dims}`;
  }
  if (!a.origin || !b.origin) return a.origin === b.origin ? undefined : 'only one of them says how it was made';
  for (const name of ['network', 'network_sha256', 'resize', 'image_size'] as const) {
    if (a.origin[name] !== b.origin[name]) return `its ${name} is ${b.origin[name]}, not ${a.origin[name]}`;
  }
  const difference = preprocessDifference(b.origin.preprocess ?? {}, a.origin.preprocess ?? {});
  return difference && `of its features, ${difference}`;
}
