/** Nested facts (a configuration, provenance, a protocol) as a flat list. */
import type { Facts } from './run-view.js';

/** A configuration as dotted names with their values, in order. */
export function flattened(facts: Facts, prefix = ''): [name: string, value: unknown][] {
  return Object.entries(facts).flatMap(([key, value]): [string, unknown][] => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
    return nested ? flattened(value as Facts, name) : [[name, value]];
  });
}
