/** Lines of NDJSON. */
import { DataError } from '../errors.js';
import { isDeep } from './unique-json.js';

/** The object that a line holds; undefined where it is no JSON, JSON of something else, or nested without end. */
export function jsonObject(line: string): Record<string, unknown> | undefined {
  if (isDeep(line)) return undefined;
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // No JSON: as good as another value.
  }
  return undefined;
}

/**
 * The objects of lines of JSON; blank lines are passed over.
 * @param where name of the file, for messages
 * @param before how many lines of the file come before these
 * @throws DataError naming a line that is no JSON object
 */
export const jsonLines = (text: string, where: string, before = 0): Record<string, unknown>[] =>
  text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const value = jsonObject(line);
    if (value) return [value];
    throw new DataError(`${where}: line ${before + i + 1} is no JSON object`);
  });
