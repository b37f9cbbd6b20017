/** Runs in the terminal, drawn again while they grow: curves, where each run is, and its newest samples. */
import { setTimeout as pause } from 'node:timers/promises';
import type { RunFolder } from '../runs/run-folder.js';
import type { LogLine } from '../runs/run-view.js';
import { printable, styleOut } from './terminal.js';
import { terminalPicture } from './terminal-picture.js';
import { terminalPlot } from './terminal-plot.js';

const REDRAW_MS = 2000;
const CLEAR = '\u001b[2J\u001b[H';
const PAINTS = [styleOut.cyan, styleOut.yellow, styleOut.green, styleOut.magenta, styleOut.blue, styleOut.red];
/** Size of what is drawn where the terminal does not tell its own. */
const COLUMNS = 80;
const ROWS = 24;

interface WatchedRun {
  name: string;
  lines: readonly LogLine[];
  /** The newest sheet of samples, as characters. */
  picture: string;
  sheet: string | undefined;
}

/** @throws DataError for a line of a log that is no JSON object */
export async function watchInTerminal(
  folders: readonly RunFolder[],
  { field, once }: { field: string; once: boolean },
): Promise<void> {
  const runs = folders.map(({ name }): WatchedRun => ({ name, lines: [], picture: '', sheet: undefined }));
  for (;;) {
    await Promise.all(folders.map((folder, i) => update(runs[i], folder)));
    process.stdout.write(`${once ? '' : CLEAR}${screen(runs, field)}`);
    if (once) return;
    await pause(REDRAW_MS);
  }
}

async function update(run: WatchedRun, folder: RunFolder): Promise<void> {
  const { replaced, lines, pictures } = folder.changes((file) => file);
  run.lines = replaced ? lines : [...run.lines, ...lines];
  const newest = pictures.at(-1)?.uri;
  if (newest === undefined || newest === run.sheet) return;
  run.sheet = newest;
  const { decodeImage } = await import('../images/decode.js');
  const image = await decodeImage(folder.picture(newest)!, newest);
  run.picture = terminalPicture(image, Math.floor(((process.stdout.columns ?? COLUMNS) - 2) / 2));
}

function screen(runs: readonly WatchedRun[], field: string): string {
  const columns = process.stdout.columns ?? COLUMNS;
  const rows = Math.max(8, Math.min(20, (process.stdout.rows ?? ROWS) - 4 - runs.length));
  const curves = runs.map(({ lines }, i) => {
    const points = lines.filter((line) => typeof line[field] === 'number' && typeof line.step === 'number');
    const numbers = (name: string): number[] => points.map((line) => line[name] as number);
    return { x: numbers('step'), y: numbers(field), paint: PAINTS[i % PAINTS.length] };
  });
  const states = runs.map(
    ({ name, lines }, i) => `${PAINTS[i % PAINTS.length]('━━')} ${printable(name)}: ${stateOf(lines, field)}\n`,
  );
  const plot = terminalPlot(curves, columns, rows);
  const body = plot === '' ? `no line has a number '${field}' yet\n` : `${field} by step\n${plot}`;
  return [body, ...states, ...runs.map(({ picture }) => picture)].join('');
}

function stateOf(lines: readonly LogLine[], field: string): string {
  const last = lines.findLast((line) => line.evaluation === undefined);
  const value = lines.findLast((line) => typeof line[field] === 'number')?.[field] as number | undefined;
  if (last === undefined) return 'no step yet';
  const { images_per_second: rate, model_flops_utilization: share, memory_bytes: memory } = last;
  return [
    `step ${last.step}`,
    ...(value === undefined ? [] : [`${field} ${Number(value.toPrecision(5))}`]),
    ...(typeof rate === 'number' ? [`${Number(rate.toPrecision(3))} images/s`] : []),
    ...(typeof share === 'number' ? [`${Math.round(100 * share)} % of the machine's products`] : []),
    ...(typeof memory === 'number' ? [`${Math.round(memory / 1e6)} MB of memory`] : []),
  ].join(', ');
}
