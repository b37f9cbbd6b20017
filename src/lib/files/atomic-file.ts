/**
 * Files that appear whole or not at all: the bytes go to a temporary name in the same folder, are forced to disk, and
 * only then take the final name. A crash leaves the old file (or none), never half of the new one.
 */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  openSync,
  readlinkSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { MissingInputError, UnavailableError, UsageError } from '../errors.js';
import { whyMissing } from './missing.js';
import { takePipe } from './named-pipe.js';
import { temporaryName } from './temporary-files.js';
import { onInterrupt } from './unfinished.js';

export interface AtomicFile {
  /** Open for writing; the position starts at 0. */
  readonly fd: number;
  /** Forces the bytes to disk and gives the file its name. */
  commit(): void;
  /** Closes and removes the temporary file, as a signal does; does nothing after `commit`. */
  abort(): void;
}

/** How stdout is called as an output. */
export const STDOUT = '-';

/** The descriptors that have names of their own: stdout (`-`), or what `-o >(command)` hands over. */
const DESCRIPTOR = /^(?:(-)|\/dev\/(?:fd\/(\d+)|(stdout)|(stderr))|\/proc\/self\/fd\/(\d+))$/;

export const isDescriptor = (file: string): boolean => DESCRIPTOR.test(file);

function descriptorOf(file: string): number | undefined {
  const [, dash, fd, stdout, stderr, own] = DESCRIPTOR.exec(file) ?? [];
  if (dash || stdout) return 1;
  if (stderr) return 2;
  return fd === undefined && own === undefined ? undefined : Number(fd ?? own);
}

export interface AtomicOptions {
  /** Whether nobody else may write the file meanwhile: of two processes, the second one fails. */
  alone?: boolean;
}

/**
 * Starts a file that gets its name at `commit`. A device, a named pipe or an open descriptor cannot be replaced (`-o
 * /dev/null`): it is written directly. A symbolic link keeps pointing where it did: its target is replaced, or made. A
 * file that is replaced leaves its permissions to the new one.
 * @throws MissingInputError when the folder does not exist; UsageError when there is a folder of this name.
 */
export function openAtomicFile(file: string, { alone = false }: AtomicOptions = {}): AtomicFile {
  const descriptor = descriptorOf(file);
  if (descriptor !== undefined) return { fd: descriptor, commit() {}, abort() {} };
  const named = statSync(file, { throwIfNoEntry: false });
  if (named?.isDirectory()) throw new UsageError(`${file} is a folder`, 'Name a file in it.');
  const special = named !== undefined && !named.isFile();
  const target = special ? file : finalName(file);
  const before = special ? named : statSync(target, { throwIfNoEntry: false }); // `..` of a folder that is not there
  const temporary = special ? target : temporaryName(target);
  const fd = takePipe(file) ?? openForWriting(temporary, file, special ? 'w' : 'wx', before && PRIVATE);
  let open = true;
  const close = (): void => {
    open = false;
    closeSync(fd);
  };
  const discard = (): void => {
    release();
    if (open) tryTo(close);
    if (!special) tryTo(() => unlinkSync(temporary));
  };
  const release = onInterrupt(discard);
  const undoing = (work: () => void): void => {
    try {
      work();
    } catch (error) {
      discard();
      throw withPath(Object.assign(error as Error, { path: undefined }), file);
    }
  };
  if (before && !special) undoing(() => fchmodSync(fd, before.mode & PERMISSIONS));
  return {
    fd,
    commit() {
      undoing(() => {
        if (!special) fsyncSync(fd);
        close();
        if (special) return;
        if (alone && !isSame(before, statSync(target, { throwIfNoEntry: false }))) throw notAlone(file);
        renameSync(temporary, target);
      });
      release();
      if (!special) syncFolder(path.dirname(target));
    },
    abort() {
      if (open) discard();
    },
  };
}

/** Tidies up, and ignores its errors: they must not hide the error before. */
function tryTo(tidy: () => void): void {
  try {
    tidy();
  } catch {
    // The next process that writes here removes it.
  }
}

const PERMISSIONS = 0o777;
const PRIVATE = 0o600;

/** Whether there is the same file as before, or none as before. */
const isSame = (before: Stats | undefined, after: Stats | undefined): boolean =>
  before?.ino === after?.ino && before?.mtimeMs === after?.mtimeMs && before?.size === after?.size;

const notAlone = (file: string): UnavailableError =>
  new UnavailableError(
    `${file}: was written by another process meanwhile`,
    'That one is kept, and what was made here is not. Give each its own output, or its own --shard.',
  );

/**
 * Writes a file whole or not at all.
 * @param content of the file, or a function that writes it to a file descriptor; when it throws, nothing is left behind
 */
export function writeFileAtomic(file: string, content: string | Uint8Array | ((fd: number) => void)): void {
  const output = openAtomicFile(file);
  try {
    if (typeof content === 'function') content(output.fd);
    else writeFully(output.fd, typeof content === 'string' ? Buffer.from(content) : content);
  } catch (error) {
    output.abort();
    throw withPath(error, file);
  }
  output.commit();
}

/** `writeFileAtomic` for a writer that awaits, and takes its time: of two processes that write one file, one fails. */
export async function writeFileAtomicAsync(file: string, write: (fd: number) => Promise<void>): Promise<void> {
  const output = openAtomicFile(file, { alone: true });
  try {
    await write(output.fd);
  } catch (error) {
    output.abort();
    throw withPath(error, file);
  }
  output.commit();
}

/** An error of the file system, which does not know a descriptor's path, with the path that was to be written. */
export function withPath(error: unknown, file: string): unknown {
  const { code, path: known } = error as NodeJS.ErrnoException;
  return code === undefined || known !== undefined ? error : Object.assign(error as Error, { path: file });
}

/** Writes every byte at the current position; one `write` call may take only a part of them. */
export function writeFully(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSome(fd, bytes.subarray(done));
}

const RETRY_MS = 2;

/** How many bytes were taken: none by a full pipe on stdout, which Node has made non-blocking; its reader gets time. */
function writeSome(fd: number, bytes: Uint8Array): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    return 0;
  }
}

/** The path without symbolic links, of a file that may not exist yet. @throws an error of the file system: ELOOP */
export function finalName(file: string): string {
  if (!lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink()) return path.resolve(file);
  const isDangling = statSync(file, { throwIfNoEntry: false }) === undefined;
  return isDangling ? finalName(path.resolve(path.dirname(file), readlinkSync(file))) : realpathSync(file);
}

/** @param named what the file will be called, for the message */
function openForWriting(file: string, named: string, flags: string, mode?: number): number {
  try {
    return openSync(file, flags, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw Object.assign(error as Error, { path: named });
    throw noFolder(named);
  }
}

/** The error of a file whose folder is not there. */
export function noFolder(file: string): MissingInputError {
  const folder = path.dirname(file);
  return new MissingInputError(
    `cannot write into ${folder}: ${whyMissing(folder, 'folder')}`,
    'Create the folder first.',
  );
}

/** The rename itself is durable only once its folder is on disk. Some file systems refuse to sync a folder. */
export function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } catch {
    // The data is safe; only the name might be lost in a power cut.
  } finally {
    closeSync(fd);
  }
}
