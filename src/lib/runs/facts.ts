/** Nested facts (a configuration, provenance, a protocol) as a flat list. */
import type { Facts } from './run-view.js';

const isFacts = (value: unknown): value is Facts =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * A configuration as dotted names with their values, in order; things of which there are several are numbered from 0.
 */
export function flattened(facts: Facts, prefix = ''): [name: string, value: unknown][] {
  return Object.entries(facts).flatMap(([key, value]): [string, unknown][] => {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (isFacts(value)) return flattened(value, name);
    const several = Array.isArray(value) && value.length > 0 && value.every(isFacts);
    return several ? flattened({ ...value }, name) : [[name, value]];
  });
}
