/** Samples over training: a strip for each run, with a column for each step. */
import type { PageView, RunView } from '../lib/runs/run-view.js';
import { element, shown } from './elements.js';

function enlarged(uri: string, text: string): void {
  const dialog = element(
    'dialog',
    { click: () => dialog.close(), close: () => dialog.remove() },
    element('img', { src: uri, alt: text, class: 'enlarged' }),
    element('p', {}, text),
  );
  document.body.append(dialog);
  dialog.showModal();
}

function picture(uri: string, text: string): HTMLElement {
  const image = element('img', { src: uri, alt: text, loading: 'lazy' });
  return element('button', { type: 'button', class: 'picture', title: text, click: () => enlarged(uri, text) }, image);
}

/** The sheets of all runs, the same step below the same step. */
export function strips(runs: readonly RunView[]): HTMLElement | undefined {
  const steps = [...new Set(runs.flatMap(({ pictures }) => pictures.map(({ step }) => step)))].sort((a, b) => a - b);
  if (steps.length === 0) return undefined;
  const head = element(
    'tr',
    {},
    element('th'),
    ...steps.map((step) => element('th', { scope: 'col' }, `step ${shown(step)}`)),
  );
  const rows = runs
    .filter(({ pictures }) => pictures.length > 0)
    .map(({ name, pictures }) => {
      const uris = new Map(pictures.map(({ step, uri }) => [step, uri]));
      const cells = steps.map((step) => {
        const uri = uris.get(step);
        return element('td', {}, ...(uri === undefined ? [] : [picture(uri, `${name}, step ${shown(step)}`)]));
      });
      return element('tr', {}, element('th', { scope: 'row' }, name), ...cells);
    });
  return element(
    'section',
    {},
    element('h2', {}, 'Samples from the same noise'),
    element('div', { class: 'wide' }, element('table', { class: 'strips' }, head, ...rows)),
  );
}

export const otherPictures = (pictures: PageView['pictures']): HTMLElement[] =>
  pictures.map(({ name, uri }) => element('section', {}, element('h2', {}, name), picture(uri, name)));
