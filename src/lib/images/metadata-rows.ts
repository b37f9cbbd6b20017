/** Reads metadata.jsonl or metadata.csv of Hugging Face's imagefolder: a row for each picture. */
import { DataError } from '../errors.js';
import { jsonLines } from '../formats/json-object.js';

/** At the root of a set; of two, the first counts. */
export const METADATA_FILES = ['metadata.jsonl', 'metadata.csv'];

/**
 * The rows of such a file, by the names of its fields.
 * @param where its name, by whose ending it is read
 * @throws DataError for a line that is no JSON object, or a row of another length than the first
 */
export const metadataRows = (content: string, where: string): Record<string, unknown>[] =>
  (where.endsWith('.csv') ? csvRows : jsonLines)(content, where);

/** A cell, in quotes or without, and what ends it. */
const CELL = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;

/** Rows of RFC 4180 under the names of the first. */
function csvRows(content: string, where: string): Record<string, unknown>[] {
  const rows: string[][] = [[]];
  for (CELL.lastIndex = 0; CELL.lastIndex < content.length || rows.at(-1)!.length > 0; ) {
    const found = CELL.exec(content);
    if (!found) throw new DataError(`${where}: row ${rows.length} has a quote that is not of a whole cell`);
    const [, quoted, plain, end] = found;
    rows.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end !== ',') rows.push([]);
  }
  const [names, ...entries] = rows.filter((row) => row.length > 1 || (row.length === 1 && row[0] !== ''));
  const twice = names?.find((name, column) => names.indexOf(name) !== column);
  if (twice !== undefined) throw new DataError(`${where}: has two columns '${twice}'`);
  const bad = entries.findIndex((row) => row.length !== names.length);
  if (bad >= 0) throw new DataError(`${where}: row ${bad + 2} has ${entries[bad].length} cells, not ${names.length}`);
  return entries.map((row) => Object.fromEntries(row.map((cell, i) => [names[i], cell])));
}
