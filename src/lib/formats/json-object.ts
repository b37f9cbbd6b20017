/** Lines of NDJSON. */
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
