/** Finds the weights of a name on this machine: shipped with repa, pulled, or put there by hand. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { UnavailableError } from '../errors.js';
import { homeFolder } from '../files/home.js';
import { findInHubCache } from './hub-cache.js';
import { REGISTRY } from './registry.js';

/** Networks whose weights ship with repa. */
const EMBEDDED = new Map([
  ['emoji-vit', 'emoji-vit.safetensors'],
  ['emoji-cnn', 'emoji-cnn.onnx'],
  ['emoji-vae', 'emoji-vae.safetensors'],
]);
const ASSETS = fileURLToPath(new URL('../../assets/', import.meta.url));
const CACHED_AS = ['.safetensors', '.pth', '.pt', '.bin'];

/** Where weights are kept by name: `$REPA_HOME/weights`, or `~/.cache/repa/weights`. */
export const weightsFolder = (): string => homeFolder('weights');

/** The file of a name, if it is here. */
export function findWeights(name: string): string | undefined {
  const embedded = EMBEDDED.get(name);
  if (embedded) return path.join(ASSETS, embedded);
  const own = CACHED_AS.map((extension) => path.join(weightsFolder(), name + extension));
  const found = own.find((file) => existsSync(file));
  const source = REGISTRY.get(name)?.source;
  return found ?? (source && 'repo' in source ? findInHubCache(source) : undefined);
}

/** The file of a name. @throws UnavailableError when it is not here, saying how it gets here */
export function locateWeights(name: string): string {
  const found = findWeights(name);
  if (found) return found;
  const byHand = `put them in ${weightsFolder()} as ${name}.safetensors or ${name}.pth, or name a file with --weights.`;
  throw new UnavailableError(
    `the weights of ${name} are not on this machine`,
    REGISTRY.has(name) ? `Download them with repa pull ${name}, or ${byHand}` : byHand.replace(/^p/, 'P'),
  );
}
