/** Lines of NDJSON. */

/** The object that a line holds; undefined where it is no JSON, or JSON of something else. */
export function jsonObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // No JSON: as good as another value.
  }
  return undefined;
}
