/** Curves as an SVG document: one panel above the other, each with its legend above it and its titles at its axes. */

import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { escaped } from '../formats/markup.js';
import { logTicks } from './log-ticks.js';
import type { SpeedUp } from './speed-up.js';

/** A point of a curve of one panel. */
export interface CurvePoint {
  /** The name of the curve in the legend. */
  curve: string;
  x: number;
  value: number;
  /** The edges of a band. */
  low?: number;
  high?: number;
}

export interface Panel {
  /** The title of the value axis. */
  title: string;
  points: readonly CurvePoint[];
  speedUps?: readonly SpeedUp[];
}

export interface DrawOptions {
  /** The title of the x axis. */
  xTitle: string;
  /** Whether x has whole numbers only, each of which is written: blocks. */
  counted?: boolean;
  /** Which axes are logarithmic. */
  log: ReadonlySet<'x' | 'y'>;
}

const WIDTH = 900;
const PANEL_HEIGHT = 340;
const MARGIN = { left: 76, right: 34, top: 34, bottom: 50 };
/** Curves of at most this many points show them as dots: a few measurements would be hard to see as a line alone. */
const DOTTED = 60;
/** Between the outermost points and the frame, in pixels. */
const INSET = 8;
/** Height of a line about a speed-up, at the top right, where falling curves leave room. */
const SPEED_UP_LINE = 20;
const LEGEND_LINE = 20;
/** Approximate width of a character of the legend, and of the mark before a name. */
const CHARACTER = 7.4;
const SWATCH = 40;
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d31', '#7f7f7f'];

/** Dark where the reader's page is; a program that does not know the query draws the light one. */
const STYLE = `.paper { fill: #ffffff } .figure { color: #212529 }
@media (prefers-color-scheme: dark) { .paper { fill: #16181d } .figure { color: #e9ecef } }`;

/** The panels one above the other under one legend. @returns an SVG document */
export function drawPanels(panels: readonly Panel[], options: DrawOptions): string {
  const curves = [...new Set(panels.flatMap(({ points }) => points.map(({ curve }) => curve)))];
  const legend = layOutLegend(curves);
  const height = legend.height + PANEL_HEIGHT * panels.length;
  const drawn = panels.map((panel, i) => drawPanel(panel, curves, options, legend.height + PANEL_HEIGHT * i));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="figure" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}"`,
    ` height="${height}" font-family="sans-serif" font-size="14"><style>${STYLE}</style>`,
    '<rect class="paper" width="100%" height="100%"/>',
    legend.svg,
    ...drawn,
    '</svg>\n',
  ].join('');
}

const colour = (curves: readonly string[], curve: string): string => COLOURS[curves.indexOf(curve) % COLOURS.length];

/** The names of the curves, in rows that are no wider than the picture. */
function layOutLegend(curves: readonly string[]): { svg: string; height: number } {
  let [x, line] = [MARGIN.left, 0];
  const entries = curves.map((curve) => {
    const width = SWATCH + CHARACTER * curve.length;
    if (x + width > WIDTH - MARGIN.right && x > MARGIN.left) [x, line] = [MARGIN.left, line + 1];
    const swatch = `<line x2="24" y1="-5" y2="-5" stroke="${colour(curves, curve)}" stroke-width="4"/>`;
    const entry = `<g transform="translate(${x} ${24 + LEGEND_LINE * line})">${swatch}<text x="30" fill="currentColor">${escaped(curve)}</text></g>`;
    x += width;
    return entry;
  });
  return { svg: entries.join(''), height: 14 + LEGEND_LINE * (line + 1) };
}

function drawPanel(
  { title, points, speedUps = [] }: Panel,
  curves: readonly string[],
  options: DrawOptions,
  y: number,
): string {
  const { document } = parseHTML('<html><body></body></html>');
  const stroke = (point: { curve: string }): string => colour(curves, point.curve);
  const numbered = options.counted ? { ticks: [...new Set(points.map(({ x }) => x))], tickFormat: 'd' } : {};
  // A logarithmic axis has no place for what is not above zero.
  const shown = points.filter(
    ({ x, value }) => (x > 0 || !options.log.has('x')) && (value > 0 || !options.log.has('y')),
  );
  const logarithmic = (axis: 'x' | 'y', values: readonly number[]) =>
    options.log.has(axis) && values.length > 0
      ? ({ type: 'log', ticks: logTicks(...rangeOf(values)), tickFormat: '~g' } as const)
      : {};
  const figure = Plot.plot({
    document,
    style: { fontFamily: 'sans-serif', fontSize: '14px', background: 'none', color: 'currentColor' },
    width: WIDTH,
    height: PANEL_HEIGHT,
    marginLeft: MARGIN.left,
    marginRight: MARGIN.right,
    marginTop: MARGIN.top,
    marginBottom: MARGIN.bottom,
    insetTop: INSET,
    insetBottom: INSET,
    insetRight: INSET,
    x: {
      ...logarithmic(
        'x',
        shown.map(({ x }) => x),
      ),
      ...numbered,
      grid: true,
      label: options.xTitle,
      labelAnchor: 'center',
      labelArrow: 'none',
      labelOffset: 42,
    },
    y: {
      grid: true,
      zero: false,
      label: title,
      labelArrow: 'none',
      ticks: 6,
      tickFormat: '~g',
      ...logarithmic(
        'y',
        shown.flatMap(({ value, low = value, high = value }) => [value, low, high]).filter((value) => value > 0),
      ),
    },
    marks: [
      Plot.frame({ stroke: 'currentColor', strokeOpacity: 0.3 }),
      Plot.areaY(
        shown.filter(({ low }) => low !== undefined),
        { x: 'x', y1: 'low', y2: 'high', z: 'curve', fill: stroke, fillOpacity: 0.18 },
      ),
      Plot.line(shown, { x: 'x', y: 'value', z: 'curve', stroke, strokeWidth: 2 }),
      Plot.dot(sparse(shown), { x: 'x', y: 'value', fill: stroke, r: 3.5 }),
      ...speedUpMarks(speedUps, curves),
    ],
  });
  figure.setAttribute('y', String(y));
  return figure.outerHTML;
}

/** The least and the largest of values. */
const rangeOf = (values: readonly number[]): [low: number, high: number] => [
  values.reduce((least, value) => Math.min(least, value)),
  values.reduce((most, value) => Math.max(most, value)),
];

/** The points of curves that have few. */
function sparse(points: readonly CurvePoint[]): CurvePoint[] {
  const counts = new Map<string, number>();
  for (const { curve } of points) counts.set(curve, (counts.get(curve) ?? 0) + 1);
  return points.filter(({ curve }) => counts.get(curve)! <= DOTTED);
}

/** A horizontal line at the value that the reference reached, with marks where each run first reached it. */
function speedUpMarks(speedUps: readonly SpeedUp[], curves: readonly string[]): Plot.Markish[] {
  return speedUps.flatMap(({ run, target, referenceX, x, factor }, i) => {
    const level = Plot.ruleY([target], { stroke: 'currentColor', strokeOpacity: 0.6, strokeDasharray: '5 4' });
    if (x === undefined || factor === undefined) return i === 0 ? [level] : [];
    const stroke = colour(curves, run);
    const text = `${showFactor(factor)} sooner`;
    const ends = [{ x, value: target, curve: run }];
    return [
      ...(i === 0 ? [level] : []),
      Plot.arrow([{ from: referenceX, to: x }], {
        x1: 'from',
        x2: 'to',
        y1: target,
        y2: target,
        stroke,
        strokeWidth: 2.5,
        headLength: 10,
      }),
      Plot.ruleX(ends, { x: 'x', y1: target, stroke, strokeOpacity: 0.8, strokeDasharray: '2 3' }),
      Plot.text([text], {
        frameAnchor: 'top-right',
        dx: -12,
        dy: SPEED_UP_LINE * i + 10,
        fill: stroke,
        fontWeight: 'bold',
        fontSize: 15,
      }),
    ];
  });
}

/** A factor with about two figures: 1.08 x, 2.4 x, 17 x. */
export const showFactor = (factor: number): string => `${factor.toFixed(factor < 2 ? 2 : factor < 10 ? 1 : 0)}\u00d7`;
