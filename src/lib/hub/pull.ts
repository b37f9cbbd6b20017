/** Fetching published weights by name. */
import path from 'node:path';
import { UsageError } from '../errors.js';
import { weightsFormat } from '../formats/weights-file.js';
import { download, type OnProgress } from './download.js';
import { fetchFromHub } from './hub.js';
import { findWeights, weightsFolder } from './locate.js';
import { REGISTRY } from './registry.js';

export interface PulledWeights {
  name: string;
  path: string;
  /** False when it was here already. */
  fetched: boolean;
}

/**
 * Fetches weights that are not here yet: those of a Hugging Face repository into its cache, others into the folder of
 * repa's own.
 * @throws UsageError for a name that is not known; UnavailableError when they cannot be had
 */
export async function pullWeights(name: string, onProgress: OnProgress): Promise<PulledWeights> {
  const here = findWeights(name);
  if (here) return { name, path: here, fetched: false };
  const published = REGISTRY.get(name);
  if (!published) {
    throw new UsageError(`nothing is known of weights called '${name}'`, 'repa pull --list shows what there is.');
  }
  const { source } = published;
  if ('repo' in source) return { name, path: await fetchFromHub(source, onProgress), fetched: true };
  const extension = new URL(source.url).pathname.endsWith('.pt') ? '.pt' : '.pth';
  const file = path.join(weightsFolder(), name + extension);
  await download({ ...source, file, check: weightsFormat }, onProgress);
  return { name, path: file, fetched: true };
}
