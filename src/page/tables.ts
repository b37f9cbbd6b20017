/** Settings, their differences, and numbers that were measured. */
import { flattened } from '../lib/runs/facts.js';
import type { Facts, RunView } from '../lib/runs/run-view.js';
import { element, factText } from './elements.js';

/** A table with a row for each fact and a column for each run. */
function comparison(
  names: readonly string[],
  columns: readonly Map<string, unknown>[],
  runs: readonly RunView[],
): HTMLElement {
  const head = element('tr', {}, element('th'), ...runs.map(({ name }) => element('th', { scope: 'col' }, name)));
  const rows = names.map((name) =>
    element(
      'tr',
      {},
      element('th', { scope: 'row' }, name),
      ...columns.map((facts) => element('td', {}, factText(facts.get(name)))),
    ),
  );
  return element('div', { class: 'wide' }, element('table', { class: 'settings' }, head, ...rows));
}

/** The settings of the runs: those that differ at once, all on demand. */
export function settings(runs: readonly RunView[]): HTMLElement | undefined {
  const known = runs.filter(({ config }) => config !== null);
  if (known.length === 0) return undefined;
  const columns = known.map(({ config }) => new Map(flattened(config as Facts)));
  const names = [...new Set(columns.flatMap((facts) => [...facts.keys()]))];
  const differing = names.filter((name) => new Set(columns.map((facts) => JSON.stringify(facts.get(name)))).size > 1);
  const all = element('details', {}, element('summary', {}, 'All settings'), comparison(names, columns, known));
  if (known.length === 1) return element('section', {}, element('h2', {}, 'Settings'), all);
  const difference =
    differing.length === 0
      ? element('p', {}, 'The runs have the same settings.')
      : comparison(differing, columns, known);
  return element('section', {}, element('h2', {}, 'Settings that differ'), difference, all);
}

/** Each number with what it was measured on; the rest of its protocol opens on demand. */
export function numbers(results: readonly Facts[]): HTMLElement | undefined {
  if (results.length === 0) return undefined;
  const rows = results.map(({ metric, value, accuracy, column, ...protocol }) => {
    const facts = flattened(protocol).map(([name, fact]) =>
      element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, factText(fact))),
    );
    const how = element('details', {}, element('summary', {}, 'how it was measured'), element('table', {}, ...facts));
    return element(
      'tr',
      {},
      element(
        'th',
        { scope: 'row' },
        [metric, column]
          .filter((part) => part !== undefined)
          .map(String)
          .join(' of '),
      ),
      element('td', { class: 'number' }, factText(value ?? accuracy)),
      element('td', {}, how),
    );
  });
  return element(
    'section',
    {},
    element('h2', {}, 'Numbers'),
    element('div', { class: 'wide' }, element('table', {}, ...rows)),
  );
}
