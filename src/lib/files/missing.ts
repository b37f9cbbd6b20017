/** Why what a path names is not there. */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { MissingInputError, pathProblem } from '../errors.js';

/** The error of an input that is not there: of nothing of this name, or of a link that leads to nothing. */
export const missingInput = (file: string, what = 'file', hint?: string): MissingInputError =>
  new MissingInputError(`${file}: ${whyMissing(file, what)}`, hint);

/** @param what of this name there should be */
export const whyMissing = (file: string, what: string): string =>
  whyLinkFails(file) ?? `no such ${what}${file === '-' ? ', and stdin is not read here' : ''}`;

/** Where a symbolic link that cannot be followed leads; undefined for whatever is none. */
export function whyLinkFails(file: string): string | undefined {
  const link = path.resolve(file); // without a slash at its end, which would be followed
  if (!lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink()) return undefined;
  try {
    if (statSync(link, { throwIfNoEntry: false })) return undefined;
    return `a symbolic link to ${readlinkSync(link)}, which is not there`;
  } catch (error) {
    return `a symbolic link to ${readlinkSync(link)}: ${pathProblem(error) ?? (error as Error).message}`;
  }
}
