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

/** True when progress may be redrawn in place: a terminal that is not the pty an MPI launcher gives to its first rank. */
export const isInteractive = (stream: NodeJS.WriteStream): boolean =>
  stream.isTTY === true && process.env.TERM !== 'dumb' && mpiRank() === undefined;
