/**
 * The cache of the Hugging Face hub on disk, which its own tools share:
 * `models--<owner>--<name>/{blobs/<etag>, snapshots/<commit>/<file>, refs/main}`, snapshots linking to blobs.
 * Layout: https://huggingface.co/docs/hub/local-cache
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface HubFile {
  /** `owner/name`. */
  repo: string;
  /** Path within the repository. */
  file: string;
}

export const REVISION = 'main';

// An empty variable counts as not set.
export const hubHome = (): string =>
  process.env.HF_HOME || path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'huggingface');

const hubCache = (): string =>
  process.env.HF_HUB_CACHE || process.env.HUGGINGFACE_HUB_CACHE || path.join(hubHome(), 'hub');

export const repoFolder = ({ repo }: HubFile): string => path.join(hubCache(), `models--${repo.replaceAll('/', '--')}`);

/** Where the file is in the cache: of the revision that was fetched last, else of any other. */
export function findInHubCache(source: HubFile): string | undefined {
  const folder = repoFolder(source);
  const ref = path.join(folder, 'refs', REVISION);
  const newest = existsSync(ref) ? [readFileSync(ref, 'utf8').trim()] : [];
  const snapshots = path.join(folder, 'snapshots');
  const others = existsSync(snapshots) ? readdirSync(snapshots) : [];
  return [...newest, ...others]
    .map((commit) => path.join(snapshots, commit, source.file))
    .find((file) => existsSync(file));
}
