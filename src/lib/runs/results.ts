/** Numbers that were measured on runs: the lines that --json of fid, cknna and probe prints. */
import { readSmallText } from '../files/small-file.js';
import { jsonLines } from '../formats/json-object.js';
import type { Facts } from './run-view.js';

/** @throws MissingInputError for a file that is not there, DataError naming the line that is no JSON object */
export const readResults = (files: readonly string[]): Facts[] =>
  files.flatMap((file) => jsonLines(readSmallText(file), file));
