/** One panel of curves: all runs in one frame, values under the pointer, the same place in all panels. */
import uPlot from 'uplot';
import { logTicks } from '../lib/plots/log-ticks.js';
import type { Curve } from './series.js';

/** A curve with its look. */
export interface DrawnCurve extends Curve {
  label: string;
  colour: string;
  /** The values as they were measured, drawn faintly behind; absent where the curve is not smoothed. */
  raw?: number[];
}

export interface ChartOptions {
  title: string;
  xLabel: string;
  logX: boolean;
  logY: boolean;
}

const HEIGHT = 260;
/** Curves of at most this many points show them as dots. */
const DOTTED = 60;
const SYNC = uPlot.sync('runs');

const styleOf = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Axis numbers that need little room: 1.5M rather than 1,500,000. */
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 4 });

/** Draws the curves into `parent`; returns how to take them out again. */
export function drawChart(parent: HTMLElement, curves: readonly DrawnCurve[], asked: ChartOptions): () => void {
  const options = {
    ...asked,
    logX: asked.logX && curves.some(({ x }) => x.some((value) => value > 0)),
    logY: asked.logY && curves.some(({ y }) => y.some((value) => value > 0)),
  };
  const tables = curves.flatMap(({ x, y, raw }): uPlot.AlignedData[] => (raw ? [[x, y, raw]] : [[x, y]]));
  // Two points of one place, such as those of a step that was measured twice, stand side by side in a log: the later
  // one counts.
  const joined = uPlot.join(tables.map(withoutRepeats));
  const ink = styleOf('--ink');
  const grid = { stroke: styleOf('--line'), width: 1 };
  const axis = {
    stroke: ink,
    grid,
    ticks: grid,
    font: '12px system-ui, sans-serif',
    labelFont: '12px system-ui, sans-serif',
  };
  const series = curves.flatMap(({ label, colour, x, raw }): uPlot.Series[] => {
    const look = { stroke: colour, width: 2, spanGaps: true };
    const points = { show: x.length <= DOTTED, size: 6, fill: colour };
    const own: uPlot.Series = {
      ...look,
      label,
      points,
      value: valueText,
    };
    const logged = { stroke: `${colour}55`, width: 1, spanGaps: true, points: { show: false }, value: valueText };
    return raw ? [own, { ...logged, label: `${label} as logged` }] : [own];
  });
  const draw = (): uPlot =>
    new uPlot(
      {
        width: Math.max(260, parent.clientWidth),
        height: HEIGHT,
        title: options.title,
        cursor: { sync: { key: SYNC.key }, focus: { prox: 24 } },
        focus: { alpha: 0.35 },
        scales: { x: { time: false, ...scaleOf(options.logX) }, y: scaleOf(options.logY) },
        axes: [
          {
            ...axis,
            ...ticksOf(options.logX),
            incrs: WHOLE_STEPS,
            label: options.xLabel,
            labelSize: 16,
            labelGap: 0,
            size: 36,
            values: (_, splits) => splits.map((split) => (split === null ? '' : short.format(split))),
          },
          {
            ...axis,
            ...ticksOf(options.logY),
            size: 62,
            values: (_, splits) => splits.map((split) => (split === null ? '' : short.format(split))),
          },
        ],
        series: [
          { label: options.xLabel, value: (_, value) => (value === null ? '–' : short.format(value)) },
          ...series,
        ],
        legend: { live: true },
      },
      positive(joined, options),
      parent,
    );
  let chart = draw();
  const observer = new ResizeObserver(() => {
    const width = Math.max(260, parent.clientWidth);
    if (Math.abs(width - chart.width) > 2) chart.setSize({ width, height: HEIGHT });
  });
  observer.observe(parent);
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  const recolour = (): void => {
    chart.destroy();
    chart = draw();
  };
  scheme.addEventListener('change', recolour);
  return () => {
    scheme.removeEventListener('change', recolour);
    observer.disconnect();
    chart.destroy();
  };
}

const valueText = (_: uPlot, value: number | null): string =>
  value === null ? '–' : String(Number(value?.toPrecision(5)));

/** A logarithmic scale goes as far as its points and a little on: uPlot's own goes on to whole decades. */
const scaleOf = (logarithmic: boolean): uPlot.Scale =>
  logarithmic ? { distr: 3, range: (_, low, high) => [low / MARGIN, high * MARGIN] } : { distr: 1 };
const MARGIN = 1.05;

/** Steps, blocks, images and seconds are counted in whole numbers. */
const WHOLE_STEPS = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

const ticksOf = (logarithmic: boolean): uPlot.Axis =>
  logarithmic ? { splits: (_, __, low, high) => logTicks(low, high), filter: (_, splits) => splits } : {};

function withoutRepeats([x, ...columns]: uPlot.AlignedData): uPlot.AlignedData {
  const last = new Map<number, number>();
  for (let i = 0; i < x.length; i++) last.set(x[i], i);
  const kept = [...last].sort(([a], [b]) => a - b).map(([, i]) => i);
  return [kept.map((i) => x[i]), ...columns.map((column) => kept.map((i) => column[i]))] as uPlot.AlignedData;
}

/** On a logarithmic axis only positive numbers have a place; where there are none, the axis stays linear. */
function positive(data: uPlot.AlignedData, { logX, logY }: ChartOptions): uPlot.AlignedData {
  const [x, ...columns] = data;
  const kept = Array.from(x, (_, i) => i).filter((i) => !logX || x[i] > 0);
  return [
    kept.map((i) => x[i]),
    ...columns.map((column) => kept.map((i) => (logY && !(Number(column[i]) > 0) ? null : column[i]))),
  ] as uPlot.AlignedData;
}
