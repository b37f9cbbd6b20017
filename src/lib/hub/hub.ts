/** Files of the Hugging Face hub, fetched into its cache. */
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { UnavailableError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { temporaryName } from '../files/temporary-files.js';
import { download, type OnProgress, refusal, settleDownload } from './download.js';
import { request, TransientError } from './http.js';
import { type HubFile, hubHome, REVISION, repoFolder } from './hub-cache.js';

const endpoint = (): string => (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

/** The token of HF_TOKEN, or the one that `hf auth login` saved. */
function token(): string | undefined {
  const file = process.env.HF_TOKEN_PATH || path.join(hubHome(), 'token');
  return process.env.HF_TOKEN || (existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined);
}

/** Facts of a file that the hub tells before it is fetched. */
interface HubMetadata {
  commit: string;
  etag: string;
  size: number | undefined;
}

/**
 * Fetches a file into the cache.
 * @returns its path there.
 * @throws UnavailableError when it cannot be had
 */
export async function fetchFromHub(source: HubFile, onProgress: OnProgress): Promise<string> {
  const url = `${endpoint()}/${source.repo}/resolve/${REVISION}/${source.file}`;
  if (isTrue(process.env.HF_HUB_OFFLINE)) throw new UnavailableError(`${url}: HF_HUB_OFFLINE forbids to fetch it`);
  const secret = token();
  const headers: Record<string, string> = secret ? { authorization: `Bearer ${secret}` } : {};
  const { commit, etag, size } = await readMetadata(url, headers);
  const folder = repoFolder(source);
  const blob = path.join(folder, 'blobs', etag);
  // Of large files, the hub's ETag is the SHA-256.
  const sha256 = /^[0-9a-f]{64}$/.test(etag) ? etag : undefined;
  if (existsSync(blob)) await settleDownload(blob);
  else await download({ url, headers, file: blob, size, sha256 }, onProgress);
  const ref = path.join(folder, 'refs', REVISION);
  makeFolder(path.dirname(ref));
  writeFileAtomic(ref, commit);
  const pointer = path.join(folder, 'snapshots', commit, source.file);
  link(blob, pointer); // last: once it is there, nobody asks the hub again
  return pointer;
}

/** The hub redirects to where the bytes are, and says in the redirect what they are. */
async function readMetadata(url: string, headers: Record<string, string>): Promise<HubMetadata> {
  const response = await request(
    url,
    { method: 'HEAD', headers },
    (redirect) => 'x-repo-commit' in redirect.headers,
  ).catch((error) => {
    if (!(error instanceof TransientError)) throw error;
    throw new UnavailableError(
      `${url}: cannot be reached: ${error.message}`,
      'Behind a proxy, set HTTPS_PROXY; for a mirror, HF_ENDPOINT.',
    );
  });
  response.resume();
  const { statusCode = 0 } = response;
  if (statusCode >= 400) throw refusal(statusCode, url);
  const header = (name: string): string | undefined => response.headers[name]?.toString();
  const commit = header('x-repo-commit') ?? '';
  const etag = (header('x-linked-etag') ?? header('etag') ?? '').replace(/^W\//, '').replaceAll('"', '');
  // Both become names of files, so nothing else that a server sends may pass.
  if (!/^[0-9a-f]{40}$/.test(commit) || !/^[0-9a-f]{32,64}$/.test(etag)) {
    throw new UnavailableError(`${url}: the answer is not that of a Hugging Face hub`, 'Check HF_ENDPOINT.');
  }
  const length = statusCode === 200 ? header('content-length') : undefined; // a redirect's own is of no interest
  const size = Number(header('x-linked-size') ?? length ?? Number.NaN);
  return { commit, etag, size: Number.isFinite(size) ? size : undefined };
}

/** Links `pointer` to `blob` as the hub's own tools do; where links are not allowed, it becomes a copy. */
function link(blob: string, pointer: string): void {
  makeFolder(path.dirname(pointer));
  const made = temporaryName(pointer);
  try {
    symlinkSync(path.relative(path.dirname(pointer), blob), made);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw Object.assign(error as Error, { path: pointer });
    copyFileSync(blob, made);
  }
  try {
    renameSync(made, pointer);
  } catch (error) {
    rmSync(made, { force: true });
    throw error;
  }
}
