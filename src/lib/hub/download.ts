/** Downloads large files: resumed where a connection broke, and checked before they get their names. */
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { diskProblem, type RepaError, UnavailableError } from '../errors.js';
import { withPath } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { lockRun } from '../files/run-lock.js';
import { sha256Of } from '../files/sha256.js';
import { request, TransientError } from './http.js';

export interface Download {
  url: string;
  headers?: Readonly<Record<string, string>>;
  /** The file to write; while it is not whole, it is `<file>.incomplete`. */
  file: string;
  /** Its size in bytes, where it is known beforehand. */
  size?: number;
  /** Its SHA-256 in hexadecimal, or the start of it, where it was published. */
  sha256?: string;
  /** Throws when a whole file is not of the kind that was wanted, such as a page of words instead. */
  check?: (file: string) => void;
  /** Wait before the second attempt; it doubles with each further one. */
  firstWaitMs?: number;
}

/** Bytes that are here, and how many there are in all, where the server says. */
export type OnProgress = (done: number, total: number | undefined) => void;

/** Attempts in a row without new bytes, after which it gives up. */
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;
/** Wait between checks of a file that another process fetches. */
const LOCK_WAIT_MS = 200;

/**
 * Fetches a file. What an earlier attempt left is continued if the server still has the same file. Where another
 * process fetches the same one, its end is waited for.
 * @returns its SHA-256.
 * @throws UnavailableError when it cannot be had, or is not what was published: nothing has the file's name then
 */
export async function download(what: Download, onProgress: OnProgress = () => {}): Promise<string> {
  makeFolder(path.dirname(what.file));
  const before = existsSync(what.file);
  const release = await lockDownload(lockOf(what.file));
  try {
    const isFetched = !before && existsSync(what.file); // by the process that was waited for
    return isFetched ? await sha256Of(what.file) : await fetchFile(what, onProgress);
  } finally {
    release();
  }
}

/** Waits until no other process fetches a file that is there, and removes what one left that was killed at its end. */
export async function settleDownload(file: string): Promise<void> {
  const lock = lockOf(file);
  if (existsSync(lock)) (await lockDownload(lock))();
}

const lockOf = (file: string): string => `${file}.incomplete.lock`;

/** Waits until no other process fetches this file. @returns how to let others */
async function lockDownload(folder: string): Promise<() => void> {
  for (;;) {
    try {
      const lock = lockRun(folder);
      return () => {
        lock.release();
        rmSync(folder, { recursive: true, force: true }); // what a killed process had made, too
      };
    } catch (error) {
      // Another one holds it, or has just removed the folder.
      const { code } = error as NodeJS.ErrnoException;
      if (!(error instanceof UnavailableError) && code !== 'ENOENT' && code !== 'ENOTDIR') throw error;
      await sleep(LOCK_WAIT_MS);
    }
  }
}

async function fetchFile(what: Download, onProgress: OnProgress): Promise<string> {
  const partial = new PartialFile(`${what.file}.incomplete`);
  await fetchAll(what, partial, onProgress);
  let hash = await sha256Of(partial.path);
  if (!hash.startsWith(what.sha256 ?? '')) {
    partial.discard(); // perhaps what was continued was of another file: once more from the start
    await fetchAll(what, partial, onProgress);
    hash = await sha256Of(partial.path);
  }
  if (!hash.startsWith(what.sha256 ?? '')) {
    partial.discard();
    throw new UnavailableError(
      `${what.url}: is not the file that was published: its SHA-256 is ${hash}, not ${what.sha256}`,
      'The server, or something on the way, changes it. Try another mirror or network.',
    );
  }
  try {
    what.check?.(partial.path);
  } catch (error) {
    partial.discard();
    throw new UnavailableError(`${what.url}: gives something else: ${(error as Error).message}`);
  }
  partial.rename(what.file);
  return hash;
}

async function fetchAll(what: Download, partial: PartialFile, onProgress: OnProgress): Promise<void> {
  const { firstWaitMs = FIRST_WAIT_MS } = what;
  let furthest = partial.size();
  let failures = 0;
  for (;;) {
    try {
      return await transfer(what, partial, onProgress);
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      failures = partial.size() > furthest ? 0 : failures + 1;
      furthest = Math.max(furthest, partial.size());
      if (failures === ATTEMPTS) {
        throw new UnavailableError(
          `${what.url}: cannot be downloaded: ${error.message}`,
          `What is here already (${furthest} bytes) is continued next time. Behind a proxy, set HTTPS_PROXY.`,
        );
      }
      await sleep(Math.min(error.retryAfter ?? firstWaitMs * 2 ** failures, LONGEST_WAIT_MS));
    }
  }
}

/** One request, from where the partial file ends. */
async function transfer(what: Download, partial: PartialFile, onProgress: OnProgress): Promise<void> {
  const validator = partial.validator();
  // Without a way to tell whether the server's file is still the same one, its bytes must not be mixed.
  const canContinue = validator !== undefined || what.sha256?.length === 64;
  const from = canContinue ? partial.size() : 0;
  if (what.size !== undefined && from === what.size) return;
  const range = from > 0 ? { range: `bytes=${from}-`, ...(validator && { 'if-range': validator }) } : {};
  const response = await request(what.url, { headers: { ...what.headers, ...range } });
  const start = startOf(response, from, what.url);
  if (start === undefined) {
    response.destroy();
    partial.discard();
    throw new TransientError('the server does not continue where it broke off');
  }
  const total = totalSize(response, start);
  if (total !== undefined && what.size !== undefined && total !== what.size) {
    response.destroy();
    throw new UnavailableError(`${what.url}: has ${total} bytes, but ${what.size} were announced`);
  }
  const limit = what.size ?? total ?? Number.POSITIVE_INFINITY;
  const end = await partial.write(response, start, limit, (done) => onProgress(done, what.size ?? total));
  if (end > limit) {
    partial.discard();
    throw new UnavailableError(`${what.url}: sends more than the ${limit} bytes that were announced`);
  }
  if (end < (what.size ?? total ?? 0)) throw new TransientError(`the connection ended after ${end} bytes`);
}

/**
 * Where the body starts; undefined when it is not where it was asked for.
 * @throws TransientError when asking again may help; UnavailableError when it will not
 */
function startOf(response: IncomingMessage, from: number, url: string): number | undefined {
  const { statusCode = 0, headers } = response;
  if (statusCode === 200) return 0;
  if (statusCode === 206) {
    const start = Number(/^bytes (\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? Number.NaN);
    return start === from ? start : undefined;
  }
  if (statusCode === 416) return undefined; // there is less of it than is here
  response.resume();
  if ([408, 425, 429].includes(statusCode) || statusCode >= 500) {
    const seconds = Number(headers['retry-after'] ?? Number.NaN);
    throw new TransientError(`status ${statusCode}`, Number.isFinite(seconds) ? seconds * 1000 : undefined);
  }
  throw refusal(statusCode, url);
}

/** Why a server does not give a file, and what can be done. */
export function refusal(status: number, url: string): RepaError {
  const hints: Record<number, string> = {
    401: 'It needs access: set HF_TOKEN to a token of an account that has it.',
    403: 'It needs access: set HF_TOKEN to a token of an account that has it, and accept its terms on its page.',
    404: 'It was moved or removed: download it by hand, and name the file with --weights.',
    407: 'The proxy wants a name and a password: HTTPS_PROXY=http://name:password@host:port.',
  };
  return new UnavailableError(`${url}: the server answers with status ${status}`, hints[status]);
}

/** Size of the whole file, as far as the response says. */
function totalSize({ headers }: IncomingMessage, start: number): number | undefined {
  const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1];
  if (total !== undefined) return Number(total);
  const length = headers['content-length'];
  return length === undefined ? undefined : start + Number(length);
}

/** A file that is not whole, and what tells whether the server's is still the same. */
class PartialFile {
  readonly path: string;
  readonly #validatorPath: string;

  constructor(file: string) {
    this.path = file;
    this.#validatorPath = `${file}.etag`;
    // Both are written through: a link in their place, which nobody here has made, would have something else written.
    for (const name of [this.path, this.#validatorPath]) {
      if (lstatSync(name, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(name);
    }
  }

  size(): number {
    return statSync(this.path, { throwIfNoEntry: false })?.size ?? 0;
  }

  /** The strong ETag or the date of the response that it began with. */
  validator(): string | undefined {
    return existsSync(this.#validatorPath) ? readFileSync(this.#validatorPath, 'utf8') : undefined;
  }

  /**
   * Writes a body from `start` on, and stops once it is past `limit`.
   * @returns where it ended
   * @throws TransientError when the connection breaks
   */
  async write(
    body: IncomingMessage,
    start: number,
    limit: number,
    onProgress: (done: number) => void,
  ): Promise<number> {
    const fd = openSync(this.path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o666);
    let position = start;
    try {
      ftruncateSync(fd, start);
      if (start === 0) this.#keepValidator(body);
      onProgress(position);
      for await (const chunk of body as AsyncIterable<Buffer>) {
        if (position + chunk.length > limit) return position + chunk.length;
        for (let done = 0; done < chunk.length; )
          done += writeSync(fd, chunk, done, chunk.length - done, position + done);
        position += chunk.length;
        onProgress(position);
      }
      fsyncSync(fd);
      return position;
    } catch (error) {
      if (diskProblem(error)) throw withPath(error, this.path);
      throw new TransientError(`the connection broke after ${position} bytes (${(error as Error).message})`);
    } finally {
      closeSync(fd);
      body.destroy();
    }
  }

  #keepValidator({ headers }: IncomingMessage): void {
    const { etag, 'last-modified': modified } = headers;
    const validator = etag && !etag.startsWith('W/') ? etag : modified;
    rmSync(this.#validatorPath, { force: true });
    if (validator) writeFileSync(this.#validatorPath, validator, { flag: 'wx' }); // through no link
  }

  discard(): void {
    rmSync(this.path, { force: true });
    rmSync(this.#validatorPath, { force: true });
  }

  /** Gives it its name. What tells its origin goes first: nobody would look for it beside a whole file. */
  rename(file: string): void {
    rmSync(this.#validatorPath, { force: true });
    try {
      renameSync(this.path, file);
    } catch (error) {
      // Another process that fetched the same was faster.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || !existsSync(file)) throw error;
    }
  }
}
