/** What the terminal can show: colour per stream, and whether anyone is looking. */
import { Chalk, type ChalkInstance } from 'chalk';
import { mpiRank } from '../parallel/environment.js';

const FORCED_LEVELS: ReadonlyMap<string, 0 | 1 | 2 | 3> = new Map([
  ['0', 0],
  ['2', 2],
  ['3', 3],
]);

/** Colour level of a stream by the usual conventions: NO_COLOR, FORCE_COLOR, TERM=dumb, --no-color, not a terminal. */
function colourLevel(stream: NodeJS.WriteStream): 0 | 1 | 2 | 3 {
  if (process.argv.includes('--no-color') || process.env.NO_COLOR) return 0;
  const forced = process.env.FORCE_COLOR;
  if (forced !== undefined) return forced === 'false' ? 0 : (FORCED_LEVELS.get(forced) ?? 1);
  if (!stream.isTTY || process.env.TERM === 'dumb') return 0;
  const depth = stream.getColorDepth();
  return depth >= 24 ? 3 : depth >= 8 ? 2 : 1;
}

export const styleOut: ChalkInstance = new Chalk({ level: colourLevel(process.stdout) });
export const styleErr: ChalkInstance = new Chalk({ level: colourLevel(process.stderr) });

/** True in every process of a parallel launch but the first: those stay quiet. */
export const isSecondaryRank = (): boolean => (mpiRank()?.index ?? 0) > 0;

/**
 * True when progress may be redrawn in place: a terminal that is not the pty an MPI launcher gives to its first rank.
 */
export const isInteractive = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && process.env.TERM !== 'dumb' && mpiRank() === undefined;

/**
 * Text of unknown origin (a name, metadata, a message that quotes them) made safe to print: control characters, which
 * can move the cursor, retitle a terminal or hide what stands there, and marks that reverse the order of the letters,
 * are shown as escapes. Line feeds and tabs stay.
 */
export const printable = (text: string): string =>
  text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what it is about
    /[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** Says a line of words on stderr. */
export function say(line: string): void {
  process.stderr.write(`${printable(line)}\n`);
}

/** A result on stdout: an object for programs where --json asks for it, else words for people. */
export function printResult(result: unknown, words: string, json: boolean | undefined): void {
  process.stdout.write(`${json ? JSON.stringify(result) : printable(words)}\n`);
}
