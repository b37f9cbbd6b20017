/** Checks that the numbers of several runs were measured in the same way. */
import { DataError } from '../errors.js';
import { flattened } from './facts.js';
import type { Facts, LogLine } from './run-view.js';

/** The fields of a measurement that tell how it was made. */
const SAMPLES = ['count', 'reference', 'reference_count', 'image_size', 'resize', 'preprocess', 'sampler', 'decoder'];
const NETWORK = ['network', 'network_sha256'];
const HELD_OUT = ['rows', 'images', 'weights', 'features', 'time', 'k', 'probe_k'];
const PROTOCOL = [...SAMPLES, ...NETWORK, ...HELD_OUT];
/** Fields that may differ: several runs are made to vary the seed. */
const FREE = new Set(['sampler.seed']);

interface Measured {
  name: string;
  lines: readonly LogLine[];
}

/**
 * Compares the protocols of lines of one kind: of one `evaluation`, or results of one `metric`.
 *
 * @param fields the numbers that are shown; undefined for all
 * @throws DataError naming the fact in which two differ
 */
export function checkAlike(sources: readonly Measured[], fields?: readonly string[]): void {
  const seen = new Map<string, { name: string; protocol: Map<string, string> }>();
  for (const { name, lines } of sources) {
    for (const line of lines) {
      const kind = line.evaluation ?? line.metric;
      if (typeof kind !== 'string' || (fields && !fields.some((field) => typeof line[field] === 'number'))) continue;
      const own = { name, protocol: protocolOf(line) };
      const first = seen.get(kind) ?? own;
      seen.set(kind, first);
      refuseUnlike(kind, first, own);
    }
  }
}

type Protocol = { name: string; protocol: ReadonlyMap<string, string> };

function refuseUnlike(kind: string, first: Protocol, own: Protocol): void {
  for (const fact of new Set([...first.protocol.keys(), ...own.protocol.keys()])) {
    const [a, b] = [first.protocol.get(fact), own.protocol.get(fact)];
    if (a === b) continue;
    throw new DataError(
      `${kind} was not measured alike: ${fact} is ${a ?? 'not told'} in ${first.name}, but ${b ?? 'not told'} in ${own.name}`,
      'Measure both in one way; --mixed shows them together all the same.',
    );
  }
}

/** The facts that have to agree. Whether an average was sampled has to; which one is the recipe's choice. */
function protocolOf(line: Facts): Map<string, string> {
  const told = PROTOCOL.filter((name) => line[name] !== undefined && line[name] !== null);
  const facts = flattened(Object.fromEntries(told.map((name) => [name, line[name]])));
  const compared = facts.filter(([name]) => !FREE.has(name) && (name !== 'features' || hasAlignment(line)));
  return new Map(
    compared.map(([name, value]) => {
      const kind = name.endsWith('weights') ? String(value).split(' ')[0] : value;
      return [name, JSON.stringify(kind)];
    }),
  );
}

/** Whether a line has an alignment, which alone depends on the features of an encoder. */
const hasAlignment = (line: Facts): boolean =>
  String(line.metric ?? '') === 'cknna' || Object.keys(line).some((name) => name.startsWith('cknna'));
