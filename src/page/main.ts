/** The page of `repa watch` and `repa report`: curves, samples, numbers and settings of runs. */
import type { PageView, RunChange, RunView } from '../lib/runs/run-view.js';
import { type DrawnCurve, drawChart } from './chart.js';
import { element, shown } from './elements.js';
import { otherPictures, strips } from './pictures.js';
import { batchSizeOf, blockMeasures, curveOf, fieldsOf, placesOf, smoothed, type XAxis } from './series.js';
import { numbers, settings } from './tables.js';

/** Colours that most people with colour blindness can tell apart (Okabe and Ito), on light and on dark. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c6d31', '#7f7f7f'];
const POLL_MS = 2000;
const X_LABELS: Readonly<Record<XAxis, string>> = {
  step: 'step',
  seconds: 'seconds of computing',
  images: 'images seen',
};

/** The fields shown first: losses on held-out data, distances, probes of hidden states. The rest opens on demand. */
const FIRST = [
  /^F[ID]D?[_(]|^FID$/,
  /^val_velocity_loss$/,
  /^velocity_loss$/,
  /^(val_)?projection_loss$/,
  /^cknna/,
  /_accuracy$/,
];

const view = JSON.parse(document.getElementById('view')!.textContent!) as PageView;
let runs: RunView[] = [...view.runs];
const hidden = new Set<string>();
const opened = new Set<string>();
const look = { axis: 'step' as XAxis, smoothing: 0.6, logX: false, logY: false };
let charts: (() => void)[] = [];

const main = document.querySelector('main')!;
const state = element('p', { class: 'state' });
const legend = element('div', { class: 'legend' });
const controls = controlBar();
const curves = element('div', { class: 'curves' });
const below = element('div');
main.append(element('h1', {}, view.title), state, legend, controls, curves, below);

function colourOf(run: RunView): string {
  return COLOURS[runs.indexOf(run) % COLOURS.length];
}

function draw(): void {
  state.textContent = runs.map(describe).join(' · ');
  drawLegend();
  drawCurves();
  const sections = [strips(runs), ...otherPictures(view.pictures), numbers(view.results), settings(runs)];
  below.replaceChildren(...sections.filter((section) => section !== undefined));
}

/** One line on where a run is. */
function describe({ name, config, lines }: RunView): string {
  const steps = lines.filter(({ evaluation }) => evaluation === undefined);
  const last = steps.at(-1);
  const total = (config?.training as { steps?: unknown } | undefined)?.steps;
  const batch = batchSizeOf(config);
  const rate =
    batch !== undefined && typeof last?.seconds === 'number'
      ? `, ${shown(Number((batch / last.seconds).toPrecision(3)))} images/s`
      : '';
  const share = last?.model_flops_utilization;
  const used = typeof share === 'number' ? `, ${Math.round(100 * share)} % of the machine's products` : '';
  const bytes = last?.memory_bytes;
  const memory = typeof bytes === 'number' ? `, ${shown(Math.round(bytes / 1e6))} MB of memory` : '';
  if (typeof last?.step !== 'number') return `${name}: no step yet`;
  return `${name}: step ${shown(last.step)}${typeof total === 'number' ? ` of ${shown(total)}` : ''}${rate}${used}${memory}`;
}

function drawLegend(): void {
  const items = runs.map((run) => {
    const box = element('input', { type: 'checkbox', checked: !hidden.has(run.name), change: toggle });
    function toggle(): void {
      if (box.checked) hidden.delete(run.name);
      else hidden.add(run.name);
      drawCurves();
    }
    return element('label', { style: `--colour: ${colourOf(run)}` }, box, run.name);
  });
  legend.replaceChildren(...items);
  legend.hidden = runs.length < 2;
}

function controlBar(): HTMLElement {
  const axis = element(
    'select',
    {
      change: (event) => {
        look.axis = (event.target as HTMLSelectElement).value as XAxis;
        drawCurves();
      },
    },
    ...Object.entries(X_LABELS).map(([value, label]) => element('option', { value }, label)),
  );
  const smoothing = element('input', {
    type: 'range',
    min: 0,
    max: 0.99,
    step: 0.01,
    value: look.smoothing,
    input: (event) => {
      look.smoothing = Number((event.target as HTMLInputElement).value);
      drawCurves();
    },
  });
  const logBox = (key: 'logX' | 'logY'): HTMLElement =>
    element('input', {
      type: 'checkbox',
      change: (event) => {
        look[key] = (event.target as HTMLInputElement).checked;
        drawCurves();
      },
    });
  return element(
    'div',
    { class: 'controls' },
    element('label', {}, 'Across ', axis),
    element('label', {}, 'Smoothing ', smoothing),
    element('label', {}, logBox('logX'), 'log x'),
    element('label', {}, logBox('logY'), 'log y'),
  );
}

function drawCurves(): void {
  for (const remove of charts) remove();
  charts = [];
  const seen = runs.filter(({ name }) => !hidden.has(name));
  const fields = [...new Set(runs.flatMap(({ lines }) => fieldsOf(lines)))];
  const rank = (field: string): number => FIRST.findIndex((pattern) => pattern.test(field));
  const first = fields.filter((field) => rank(field) >= 0).sort((a, b) => rank(a) - rank(b));
  const rest = fields.filter((field) => rank(field) < 0);
  const panels = element('div', { class: 'panels' });
  const others = rest.map((field) => {
    const details = element('details', { open: opened.has(field) }, element('summary', {}, field));
    details.addEventListener('toggle', () => {
      if (details.open === opened.has(field)) return;
      if (details.open) opened.add(field);
      else opened.delete(field);
      drawCurves();
    });
    return { field, details };
  });
  const blocks = blockMeasures(view.results);
  curves.replaceChildren(panels, element('div', { class: 'others' }, ...others.map(({ details }) => details)));
  for (const field of first) addChart(panels, field, seen);
  for (const { field, details } of others) if (opened.has(field)) addChart(details, field, seen);
  for (const name of new Set(blocks.map((measure) => measure.name))) {
    const own = blocks.filter((measure) => measure.name === name);
    const lines = [...new Set(own.map(({ time }) => time))].map((time, i): DrawnCurve => {
      const points = own.filter((measure) => measure.time === time).sort((a, b) => a.block - b.block);
      return {
        label: `t = ${time}`,
        colour: COLOURS[i % COLOURS.length],
        x: points.map(({ block }) => block),
        y: points.map(({ value }) => value),
      };
    });
    charts.push(
      drawChart(panel(panels), lines, { title: `${name}, by block`, xLabel: 'block', logX: false, logY: false }),
    );
  }
  if (fields.length === 0 && blocks.length === 0) panels.append(element('p', {}, 'No line of a log yet.'));
}

function panel(parent: HTMLElement): HTMLElement {
  return parent.appendChild(element('div', { class: 'panel' }));
}

function addChart(parent: HTMLElement, field: string, seen: readonly RunView[]): void {
  const untold: string[] = [];
  const drawn = seen.flatMap((run): DrawnCurve[] => {
    const placeOf = placesOf(run.lines, look.axis, batchSizeOf(run.config));
    if (!placeOf) {
      untold.push(run.name);
      return [];
    }
    const { x, y } = curveOf(run.lines, field, placeOf);
    if (x.length === 0) return [];
    // Only the noise of single steps is smoothed: measurements are few, and each counts.
    const smooths = look.smoothing > 0 && !run.lines.some((line) => 'evaluation' in line && field in line);
    return [
      {
        label: run.name,
        colour: colourOf(run),
        x,
        y: smooths ? smoothed(y, look.smoothing) : y,
        raw: smooths ? y : undefined,
      },
    ];
  });
  const place = panel(parent);
  if (drawn.length > 0) {
    charts.push(
      drawChart(place, drawn, { title: field, xLabel: X_LABELS[look.axis], logX: look.logX, logY: look.logY }),
    );
  }
  if (untold.length > 0)
    place.append(element('p', {}, `${untold.join(', ')}: its log does not tell ${X_LABELS[look.axis]}.`));
}

/** Asks for what is new, for as long as the page is open. */
async function follow(): Promise<void> {
  const generations = runs.map(() => -1);
  for (;;) {
    try {
      const query = new URLSearchParams(runs.map(({ lines }, i) => [String(i), `${generations[i]}.${lines.length}`]));
      const response = await fetch(`changes?${query}`);
      if (!response.ok) throw new Error(await response.text());
      const changes = (await response.json()) as (RunChange & { generation: number })[];
      const news = changes.some((change, i) => isNews(change, runs[i]));
      runs = changes.map(({ generation, replaced, lines, ...rest }, i) => {
        generations[i] = generation;
        return { ...rest, lines: replaced ? lines : [...runs[i].lines, ...lines] };
      });
      if (news) draw();
      document.body.classList.remove('lost');
    } catch (error) {
      document.body.classList.add('lost');
      state.textContent =
        error instanceof TypeError
          ? 'repa watch has ended: what it showed last stays here'
          : String((error as Error).message);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function isNews({ replaced, lines, pictures, config }: RunChange, shownRun: RunView): boolean {
  const pages =
    pictures.length !== shownRun.pictures.length || JSON.stringify(config) !== JSON.stringify(shownRun.config);
  return replaced || lines.length > 0 || pages;
}

draw();
if (view.live) void follow();
