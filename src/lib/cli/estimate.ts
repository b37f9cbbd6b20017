/** Tells before a long job how long it takes and how much it writes. */
import { statSync } from 'node:fs';
import { UnavailableError } from '../errors.js';
import { freeBytes, showBytes } from '../files/space.js';
import { flag } from '../options/option.js';
import { type Progress, showDuration } from '../progress.js';

export const DRY_RUN = flag(
  '--dry-run',
  'report rows, bytes, time and memory, measured on a little of the work, and write nothing',
);

export interface Estimate {
  /** What is counted, in the plural. */
  unit: 'images' | 'steps';
  /** How many there are; undefined where the input does not tell. */
  total: number | undefined;
  /** Seconds that one takes; undefined where nothing is left to do. */
  seconds: number | undefined;
  /** What that was measured on. */
  measured: string;
  /** Bytes written in all; undefined where that is not known. */
  bytes: number | undefined;
  /** What the bytes are, in words. */
  output: string;
  /** '-' for a pipe. */
  out: string;
}

/**
 * Prints an estimate, a fact a line.
 * @throws UnavailableError when what is written does not fit on its disk
 */
export function printEstimate({ unit, total, seconds, measured, bytes, output, out }: Estimate): void {
  const free = roomAt(out);
  const size = bytes === undefined ? 'unknown' : showBytes(bytes);
  const facts = {
    [unit]: total === undefined ? 'unknown: the input does not say how many' : String(total),
    output: `${size}, ${output}, to ${out === '-' ? 'stdout' : out}${free === undefined ? '' : ` (${showBytes(free)} free)`}`,
    time: timeOf(total, seconds, unit, measured),
    memory: `${showBytes(process.resourceUsage().maxRSS * 1024)} so far, at most`,
  };
  for (const [name, fact] of Object.entries(facts)) process.stdout.write(`${name.padEnd(8)}${fact}\n`);
  if (free === undefined || bytes === undefined || bytes <= free) return;
  throw new UnavailableError(
    `${out}: ${showBytes(bytes)} are to be written where ${showBytes(free)} are free`,
    'Make room.',
  );
}

/** Bytes free on the disk of a file or folder; undefined for a pipe or a device. */
function roomAt(out: string): number | undefined {
  if (out === '-') return undefined;
  const found = statSync(out, { throwIfNoEntry: false });
  return found === undefined || found.isFile() || found.isDirectory() ? freeBytes(out) : undefined;
}

/** Says what a job will write, before it is begun: how many, how much, where, and whether there is room. */
export function announce(
  progress: Progress,
  { unit, total, bytes, output, out }: Pick<Estimate, 'unit' | 'total' | 'bytes' | 'output' | 'out'>,
): void {
  const count = total === undefined ? `${unit}, as many as come` : `${total} ${unit}`;
  const size = bytes === undefined ? '' : `, ${showBytes(bytes)} in all`;
  const free = roomAt(out);
  const room = free === undefined ? '' : ` (${showBytes(free)} free${(bytes ?? 0) > free ? ', too little' : ''})`;
  progress.say(`${count}: ${output}${size}, to ${out === '-' ? 'stdout' : out}${room}`);
}

function timeOf(total: number | undefined, seconds: number | undefined, unit: string, measured: string): string {
  if (seconds === undefined) return 'none: nothing is left to do';
  const each = `${(1 / seconds).toPrecision(3)} ${unit} a second (${measured})`;
  return total === undefined ? each : `about ${showDuration(total * seconds)}, at ${each}`;
}
