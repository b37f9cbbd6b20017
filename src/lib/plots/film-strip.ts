/**
 * The sheets of samples that runs kept while training, as an SVG document: a row for each run, a column for each step,
 * the same noise throughout.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import { DataError } from '../errors.js';
import { escaped } from '../formats/markup.js';

export interface Strip {
  /** Written at the row's left. */
  name: string;
  frames: readonly { step: number; file: string }[];
}

/**
 * The sheets that a log names.
 * @param folder of the log
 * @throws DataError when it names none, or one that is not there
 */
export function stripOf(name: string, folder: string, entries: readonly Readonly<Record<string, unknown>>[]): Strip {
  const frames = entries.flatMap(({ step, picture }) => {
    return typeof picture === 'string' ? [{ step: Number(step), file: path.join(folder, picture) }] : [];
  });
  if (frames.length === 0)
    throw new DataError(`${folder}: its log names no pictures`, 'repa train --eval-every keeps them.');
  const lost = frames.find(({ file }) => !existsSync(file));
  if (lost) throw new DataError(`${lost.file}: the log names it, and it is not there`);
  return { name, frames };
}

const FRAME = 200;
const GAP = 10;
const NAMES = 30;
const STEPS = 34;

/**
 * @param most columns: of more steps, evenly spaced ones are shown, the first and the last among them
 * @throws DataError when the runs have no step in common
 */
export async function drawFilmStrip(strips: readonly Strip[], most = 6): Promise<string> {
  const [first, ...others] = strips.map(({ frames }) => frames.map(({ step }) => step));
  const common = first.filter((step) => others.every((steps) => steps.includes(step)));
  if (common.length === 0) throw new DataError('the runs have pictures of no step in common');
  const steps = evenly(common, most);
  const width = NAMES + steps.length * (FRAME + GAP) + GAP;
  const height = STEPS + strips.length * (FRAME + GAP) + GAP;
  const at = (column: number) => NAMES + GAP + column * (FRAME + GAP);
  const titles = steps.map((step, i) => text(`step ${step}`, at(i) + FRAME / 2, 24));
  const rows = strips.map(async ({ name, frames }, row) => {
    const top = STEPS + row * (FRAME + GAP);
    const pictures = steps.map(async (step, column) => {
      const { file } = frames.find((frame) => frame.step === step)!;
      return `<image x="${at(column)}" y="${top}" width="${FRAME}" height="${FRAME}" href="${await framed(file)}"/>`;
    });
    const centre = `${NAMES - 6} ${top + FRAME / 2}`;
    const title = `<g transform="translate(${centre}) rotate(-90)">${text(name, 0, 0)}</g>`;
    return title + (await Promise.all(pictures)).join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="film" viewBox="0 0 ${width} ${height}" width="${width}"`,
    ` height="${height}" font-family="sans-serif" font-size="16"><rect width="100%" height="100%" fill="#212529"/>`,
    ...titles,
    ...(await Promise.all(rows)),
    '</svg>\n',
  ].join('');
}

const text = (content: string, x: number, y: number): string =>
  `<text x="${x}" y="${y}" fill="#f8f9fa" text-anchor="middle">${escaped(content)}</text>`;

/** `most` of the items at most, evenly spaced, with both ends. */
function evenly<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  return Array.from({ length: most }, (_, i) => items[Math.round((i * (items.length - 1)) / (most - 1))]);
}

/** A sheet as a data URI, at twice the size that it is drawn in. */
async function framed(file: string): Promise<string> {
  const bytes = await sharp(readFileSync(file))
    .resize(2 * FRAME, 2 * FRAME, { fit: 'contain', background: '#212529', kernel: 'lanczos3' })
    .png()
    .toBuffer();
  return `data:image/png;base64,${bytes.toString('base64')}`;
}
