/** Errors that a user can act on. Each carries the exit code of its kind (sysexits.h numbers) and says what to do. */
import { constants } from 'node:os';

export const EXIT = {
  ok: 0,
  checkFailed: 1,
  usage: 2,
  badData: 65,
  missingInput: 66,
  unavailable: 69,
  bug: 70,
  interrupted: 130,
} as const;

/** Base of every error that is the input's or the machine's fault, not ours: printed without a stack. */
export class RepaError extends Error {
  readonly exitCode: number;
  /** One sentence on what to do about it, printed on its own line. */
  readonly hint: string | undefined;

  constructor(exitCode: number, message: string, hint?: string) {
    super(message);
    this.name = new.target.name;
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** The command line or configuration is wrong (exit 2). */
export class UsageError extends RepaError {
  constructor(message: string, hint?: string) {
    super(EXIT.usage, message, hint);
  }
}

/** A file or stream is truncated, corrupt, foreign, or does not fit the others (exit 65). */
export class DataError extends RepaError {
  constructor(message: string, hint?: string) {
    super(EXIT.badData, message, hint);
  }
}

/** A file that should exist does not (exit 66). */
export class MissingInputError extends RepaError {
  constructor(message: string, hint?: string) {
    super(EXIT.missingInput, message, hint);
  }
}

/** An engine, a launcher or a download cannot be had here (exit 69). */
export class UnavailableError extends RepaError {
  constructor(message: string, hint?: string) {
    super(EXIT.unavailable, message, hint);
  }
}

const DISK_PROBLEMS: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device',
  EDQUOT: 'disk quota exceeded',
  EFBIG: 'a file grew past what the file system or ulimit -f allows',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  EIO: 'the device reports an error',
  EMFILE: 'too many files are open (ulimit -n)',
  ENFILE: 'too many files are open on this machine',
  ETXTBSY: 'the file is a program that runs',
  ESTALE: 'the server of the file has lost it',
};

/** The name of an error of the system. Node has none of its own for some, such as EDQUOT, and tells their numbers. */
function nameOf(error: unknown): string {
  const { code, errno } = (error ?? {}) as NodeJS.ErrnoException;
  if (code !== 'UNKNOWN' && !code?.startsWith('Unknown system error')) return code ?? '';
  return Object.entries(constants.errno).find(([, number]) => number === -(errno ?? 0))?.[0] ?? code;
}

/** What an error of the file system says about the disk, in words; undefined for any other. */
export const diskProblem = (error: unknown): string | undefined => DISK_PROBLEMS[nameOf(error)];

const PATH_PROBLEMS: Readonly<Record<string, string>> = {
  EISDIR: 'is a folder, not a file',
  ENOTDIR: 'a part of the path is a file, not a folder',
  EEXIST: 'something else is there, or a link that leads nowhere',
  ELOOP: 'symbolic links lead in a circle',
  ESPIPE: 'is a pipe, where a file is needed: save it to one first',
  ENAMETOOLONG: 'the name is longer than the file system allows',
};

/** What an error of the file system says about a path that was named, in words; undefined for any other. */
export const pathProblem = (error: unknown): string | undefined =>
  PATH_PROBLEMS[(error as NodeJS.ErrnoException | undefined)?.code ?? ''];
