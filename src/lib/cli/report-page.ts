/** The page of `repa report`: HTML that needs no other file. */
import { DataError } from '../errors.js';

type Facts = Readonly<Record<string, unknown>>;

export interface ReportParts {
  title: string;
  /** The checkpoint's config.json. */
  config: Facts;
  /** An SVG document. */
  curves: string | undefined;
  pictures: readonly { name: string; uri: string }[];
  /** What was measured: one object each, as --json prints it. */
  results: readonly Facts[];
}

/** @throws DataError naming the line that is no JSON object */
export function readResults(text: string, source: string): Facts[] {
  return text.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return [value as Facts];
    } catch {
      // Told below.
    }
    throw new DataError(`${source}: line ${i + 1} is no JSON object`);
  });
}

const STYLE = `
body { font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums }
img, svg { max-width: 100%; height: auto }
details { margin: .5rem 0 }
code { font-size: 13px; white-space: pre-wrap; overflow-wrap: anywhere }
`;

export function reportPage({ title, config, curves, pictures, results }: ReportParts): string {
  const { architecture, step, version } = config;
  const sections = [
    `<h1>${escaped(title)}</h1>`,
    `<p>${escaped(`${architecture}, step ${step}, trained by repa ${version}`)}</p>`,
    results.length > 0 ? `<h2>Numbers</h2>\n${resultTable(results)}` : '',
    curves === undefined ? '' : `<h2>Training</h2>\n${curves}`,
    ...pictures.map(({ name, uri }) => `<h2>${escaped(name)}</h2>\n<img src="${uri}" alt="${escaped(name)}">`),
    `<h2>Settings</h2>\n${factTable(config)}`,
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escaped(title)}</title><style>${STYLE}</style></head>
<body>
${sections.filter((section) => section !== '').join('\n')}
</body>
</html>
`;
}

/** Each number with what it is of; the rest of its protocol opens on demand. */
function resultTable(results: readonly Facts[]): string {
  const rows = results.map(({ metric, value, ...protocol }) => {
    const number = typeof value === 'number' ? Number(value.toPrecision(6)) : value;
    const details = `<details><summary>how it was measured</summary>${factTable(protocol)}</details>`;
    return `<tr><th>${escaped(metric)}</th><td class="number">${escaped(number)}</td><td>${details}</td></tr>`;
  });
  return `<table>${rows.join('\n')}</table>`;
}

/** One fact a row, nested ones in tables of their own. */
function factTable(facts: Facts): string {
  const rows = Object.entries(facts).map(([name, fact]) => {
    const nested = typeof fact === 'object' && fact !== null && !Array.isArray(fact);
    const shown = nested
      ? factTable(fact as Facts)
      : `<code>${escaped(typeof fact === 'string' ? fact : unknown(fact))}</code>`;
    return `<tr><th>${escaped(name)}</th><td>${shown}</td></tr>`;
  });
  return `<table>${rows.join('\n')}</table>`;
}

const unknown = (fact: unknown): string => (fact === null ? 'unknown' : JSON.stringify(fact));

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

const escaped = (text: unknown): string => String(text).replace(/[&<>"]/g, (character) => ENTITIES[character]);
