/** Runs in the terminal, drawn again while they grow: curves, where each run is, and its newest samples. */
import { setTimeout as pause } from 'node:timers/promises';
import type { RgbImage } from '../images/rgb-image.js';
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
/** Between pictures that stand side by side. */
const GAP = 2;
/** Pictures of fewer characters a line tell nothing. */
const NARROWEST = 16;

interface WatchedRun {
  name: string;
  lines: readonly LogLine[];
  /** The newest samples. */
  sheet: { uri: string; image: RgbImage } | undefined;
}

/** @throws DataError for a line of a log that is no JSON object */
export async function watchInTerminal(
  folders: readonly RunFolder[],
  { field, once }: { field: string; once: boolean },
): Promise<void> {
  const runs = folders.map(({ name }): WatchedRun => ({ name, lines: [], sheet: undefined }));
  for (;;) {
    await Promise.all(folders.map((folder, i) => update(runs[i], folder)));
    process.stdout.write(
      once ? screen(runs, field, Number.POSITIVE_INFINITY) : `${CLEAR}${screen(runs, field, heightOf())}`,
    );
    if (once) return;
    await pause(REDRAW_MS);
  }
}

async function update(run: WatchedRun, folder: RunFolder): Promise<void> {
  const { replaced, lines, pictures } = folder.changes((file) => file);
  run.lines = replaced ? lines : [...run.lines, ...lines];
  const newest = pictures.at(-1)?.uri;
  if (newest === undefined || newest === run.sheet?.uri) return;
  const { decodeImage } = await import('../images/decode.js');
  run.sheet = { uri: newest, image: await decodeImage(folder.picture(newest)!, newest) };
}

const heightOf = (): number => process.stdout.rows ?? ROWS;

/** All of it, in at most so many lines: what is drawn again must not scroll. */
function screen(runs: readonly WatchedRun[], field: string, height: number): string {
  const columns = process.stdout.columns ?? COLUMNS;
  const images = runs.flatMap(({ sheet }) => sheet?.image ?? []);
  const free = Math.min(height, heightOf()) - 4 - runs.length;
  const rows = Math.max(8, Math.min(20, images.length > 0 ? Math.floor(free / 2) : free));
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
  const text = [body, ...states].join('');
  return text + sideBySide(images, columns, height - text.split('\n').length);
}

/** Pictures of one height in characters, as wide as `columns` and `rows` allow. */
function sideBySide(images: readonly RgbImage[], columns: number, rows: number): string {
  const share = Math.floor((columns - GAP * (images.length - 1)) / images.length);
  const width = Math.min(share, ...images.map((image) => Math.floor((2 * rows * image.width) / image.height)));
  if (images.length === 0 || width < NARROWEST) return '';
  const pictures = images.map((image) => terminalPicture(image, width).split('\n'));
  const tallest = Math.max(...pictures.map((lines) => lines.length - 1));
  const lines = Array.from({ length: tallest }, (_, row) =>
    pictures.map((own, i) => own[row] || ' '.repeat(Math.min(width, images[i].width))).join(' '.repeat(GAP)),
  );
  return lines.map((line) => `${line}\n`).join('');
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
