/** Numbers that were measured on runs: the lines that --json of fid, cknna and probe prints. */
import { DataError } from '../errors.js';
import { readSmallText } from '../files/small-file.js';
import { jsonObject } from '../formats/json-object.js';
import type { Facts } from './run-view.js';

/** @throws MissingInputError for a file that is not there, DataError naming the line that is no JSON object */
export function readResults(files: readonly string[]): Facts[] {
  return files.flatMap((file) => {
    return readSmallText(file)
      .split('\n')
      .flatMap((line, i) => {
        if (line.trim() === '') return [];
        const value = jsonObject(line);
        if (value) return [value];
        throw new DataError(`${file}: line ${i + 1} is no JSON object`);
      });
  });
}
