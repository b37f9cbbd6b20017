/** The page that shows runs: one HTML document with all that it needs inside. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { escaped } from '../formats/markup.js';
import type { PageView } from './run-view.js';

const asset = (name: string): string => readFileSync(new URL(`../../assets/${name}`, import.meta.url), 'utf8');

export interface Page {
  html: string;
  /** Its Content-Security-Policy: it may run its own script, and load nothing from elsewhere. */
  policy: string;
}

/** The page with everything in it; a live one asks the server that it came from for more. */
export function runPage(view: PageView): Page {
  const script = asset('page.js');
  const sources = [
    "default-src 'none'",
    `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
    "style-src 'unsafe-inline'",
    "img-src 'self' data:",
    view.live ? "connect-src 'self'" : '',
    "base-uri 'none'",
    "form-action 'none'",
  ];
  const policy = sources.filter((source) => source !== '').join('; ');
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<link rel="icon" href="data:,">
<title>${escaped(view.title)}</title>
<style>
${asset('page.css')}</style>
</head>
<body>
<main></main>
<script type="application/json" id="view">${inScript(view)}</script>
<script type="module">${script}</script>
</body>
</html>
`;
  return { html, policy };
}

/** JSON in which no text can end the script element around it. */
const inScript = (value: unknown): string => JSON.stringify(value).replaceAll('<', '\\u003c');
