/** Curves of training logs as a picture: one panel a field, one line a run. */
import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import ndjson from 'ndjson';
import { DataError } from '../errors.js';

export interface LogPoint {
  run: string;
  field: string;
  step: number;
  value: number;
}

/**
 * Reads the chosen fields of an NDJSON log.
 * @throws DataError when a line is no JSON object, or a field is in none of them
 */
export async function readLog(path: string, run: string, fields: readonly string[]): Promise<LogPoint[]> {
  const points: LogPoint[] = [];
  let line = 0;
  try {
    await pipeline(createReadStream(path), ndjson.parse(), async (entries: AsyncIterable<Record<string, unknown>>) => {
      for await (const entry of entries) {
        line++;
        for (const field of fields) {
          const value = entry[field];
          if (typeof value === 'number') points.push({ run, field, step: Number(entry.step), value });
        }
      }
    });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) throw error; // the file system's
    throw new DataError(`${path}: line ${line + 1} is no JSON object`);
  }
  for (const field of fields) {
    if (points.some((point) => point.field === field)) continue;
    throw new DataError(`${path}: no line has a number '${field}'`, 'repa plot --field takes the names in the log.');
  }
  return points;
}

/** Centred moving average over `window` points of each curve; the ends average what is there. */
export function smooth(points: readonly LogPoint[], window: number): LogPoint[] {
  const curves = new Map<string, LogPoint[]>();
  for (const point of points) {
    const name = `${point.run}\n${point.field}`;
    const curve = curves.get(name);
    if (curve) curve.push(point);
    else curves.set(name, [point]);
  }
  return [...curves.values()].flatMap((curve) =>
    curve.map((point, i) => {
      const near = curve.slice(Math.max(0, i - Math.floor(window / 2)), i + Math.ceil(window / 2));
      return { ...point, value: near.reduce((sum, { value }) => sum + value, 0) / near.length };
    }),
  );
}

/** Curves of at most this many points show them: what is measured now and then would else be hard to see, or no line. */
const DOTTED = 60;

/** The points of curves that have few. */
function sparse(points: readonly LogPoint[]): LogPoint[] {
  const curve = ({ run, field }: LogPoint): string => `${run}\n${field}`;
  const counts = new Map<string, number>();
  for (const point of points) counts.set(curve(point), (counts.get(curve(point)) ?? 0) + 1);
  return points.filter((point) => counts.get(curve(point))! <= DOTTED);
}

/** Height of a line of the legend, in pixels. */
const LEGEND_LINE = 18;

/** The curves as an SVG document. */
export function drawCurves(points: readonly LogPoint[]): string {
  const { document } = parseHTML('<html><body></body></html>');
  const panels = new Set(points.map(({ field }) => field)).size;
  const runs = [...new Set(points.map(({ run }) => run))];
  const figure = Plot.plot({
    document,
    style: { fontFamily: 'sans-serif', fontSize: '13px', background: 'white' },
    width: 900,
    height: 120 + 320 * panels,
    marginLeft: 60,
    marginRight: 120,
    grid: true,
    y: { zero: false, label: null },
    fy: { label: null },
    marks: [
      Plot.frame({ stroke: '#ccc' }),
      Plot.line(points, { x: 'step', y: 'value', fy: 'field', stroke: 'run', strokeWidth: 1.5 }),
      Plot.dot(sparse(points), { x: 'step', y: 'value', fy: 'field', fill: 'run', r: 3 }),
      ...runs.map((run, i) =>
        Plot.text([{ run }], {
          text: 'run',
          fill: 'run',
          frameAnchor: 'top-right',
          textAnchor: 'end',
          dx: -12,
          dy: 14 + LEGEND_LINE * i,
        }),
      ),
    ],
  });
  figure.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return figure.outerHTML;
}
