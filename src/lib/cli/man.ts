/** Man pages from the option tables: what --help shows, as roff. */
import { EXIT } from '../errors.js';
import type { Option } from '../options/option.js';
import { entriesOf } from '../options/table.js';
import type { VerbName } from './command.js';
import type { Verb } from './verb.js';

/** The date of the pages is that of the release, so that they are the same wherever they are made. */
const DATE = '2026-11-28';

/** Roff reads backslashes, leading dots and leading quotes; and hyphens must stay hyphens to be copied. */
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');

/** Longest line of roff, which refills text that is no example. */
const WIDTH = 80;

/** Breaks text into lines of at most that length. Each sentence begins a line, by which roff recognises it. */
function filled(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/).filter((each) => each !== '')) {
    const longer = `${lines.at(-1)} ${word}`;
    const begins = lines.length === 0 || /[.!?]$/.test(lines.at(-1)!) || roff(longer).length > WIDTH;
    if (begins) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines.map(roff).join('\n');
}

const bold = (text: string): string => `\\fB${roff(text)}\\fR`;

const EXIT_MEANINGS: readonly [number, string][] = [
  [EXIT.ok, 'success, or the reader of the output closed its pipe'],
  [EXIT.checkFailed, 'a check failed (verify)'],
  [EXIT.usage, 'the command line or repa.toml is wrong'],
  [EXIT.badData, 'truncated, corrupt or unfitting data'],
  [EXIT.missingInput, 'an input does not exist'],
  [EXIT.unavailable, 'an engine, a launcher, a download or the disk is not available'],
  [EXIT.bug, 'a bug of repa'],
  [EXIT.interrupted, 'interrupted'],
];

function defaultOf({ fallback, defaultText, kind }: Option): string {
  if (defaultText !== undefined) return ` Default: ${defaultText}.`;
  if (fallback === undefined || kind === 'off') return '';
  return ` Default: ${Array.isArray(fallback) ? fallback.join(',') : fallback}.`;
}

function showOption(option: Option): string {
  const choices = option.choices ? ` One of ${option.choices.join(', ')}.` : '';
  const sentence = option.description.replace(/^./, (c) => c.toUpperCase()).replace(/\.?$/, '.');
  return `.TP\n${bold(option.flags)}\n${filled(sentence + choices + defaultOf(option))}`;
}

const paragraphs = (text: string): string =>
  text
    .split(/\n\s*\n/)
    .map(filled)
    .join('\n.PP\n');

const exitSection = (): string =>
  ['.SH EXIT STATUS', ...EXIT_MEANINGS.map(([code, meaning]) => `.TP\n${bold(String(code))}\n${filled(meaning)}`)].join(
    '\n',
  );

/** repa-VERB.1 */
export function verbPage({ name, summary }: VerbName, verb: Verb, version: string): string {
  const title = `repa-${name}`;
  const syntax = ['[options]', ...verb.operands.map((operand) => operand.syntax)];
  const lines = [
    `.TH "${title.toUpperCase()}" 1 "${DATE}" "repa ${version}" "repa"`,
    `.SH NAME\n${roff(title)} \\- ${roff(summary)}`,
    `.SH SYNOPSIS\n${bold(`repa ${name}`)} ${syntax.map((word) => `\\fI${roff(word)}\\fR`).join(' ')}`,
    `.SH DESCRIPTION\n${paragraphs(verb.description)}`,
  ];
  for (const { syntax, description } of verb.operands) {
    lines.push(`.TP\n\\fI${roff(syntax.replace(/[<>[\].]/g, ''))}\\fR\n${filled(description)}`);
  }
  lines.push('.SH OPTIONS', ...entriesOf(verb.options).map(({ option }) => showOption(option)));
  lines.push('.SH EXAMPLES');
  for (const [i, { why, command: line }] of verb.examples.entries()) {
    lines.push(`${i === 0 ? '' : '.PP\n'}${filled(`${why}:`)}\n.PP\n.RS 4\n.nf\n${roff(line)}\n.fi\n.RE`);
  }
  lines.push(exitSection(), `.SH SEE ALSO\n${bold('repa')}(1), ${bold('repa-tensors')}(5), ${bold('repa-log')}(5)`);
  return `${lines.join('\n')}\n`;
}

/** repa.1: what the program is, its verbs, its configuration file. */
export function overviewPage(overview: string, verbs: readonly VerbName[], version: string): string {
  return `${[
    `.TH "REPA" 1 "${DATE}" "repa ${version}" "repa"`,
    '.SH NAME\nrepa \\- train, sample and measure diffusion transformers with REPA',
    `.SH SYNOPSIS\n${bold('repa')} \\fIverb\\fR [\\fIoptions\\fR]`,
    `.SH DESCRIPTION\n.nf\n${roff(overview)}\n.fi`,
    '.SH VERBS',
    ...verbs.map(({ name, summary }) => `.TP\n${bold(`repa-${name}`)}(1)\n${roff(summary)}`),
    `.SH CONFIGURATION
An option is taken from the command line, else from the environment
(${bold('REPA_BATCH_SIZE')} for ${bold('--batch-size')}),
else from ${bold('repa.toml')} in the working folder
(or the file that ${bold('--config')} names), else from its default.
A key at the top of the file serves every verb that has such an option, a table
serves one verb:
.PP
.RS 4
.nf
batch\\-size = 32

[train]
model = "SiT\\-B/2"
steps = 100000
.fi
.RE
.PP
${filled(`What a preset sets (train --preset) counts before the defaults. Options that exclude each other are refused when they come from
one source; else the stronger source displaces the other. A key at the top of the file that would do nothing in a verb is
passed over. A variable or an option that is set to nothing counts as not set.`)}
.PP
${filled(`What the file has set is told on stderr. One that merely lies in the working folder, as a folder that was downloaded may bring
it along, cannot choose what is written outside of that folder: give such paths on the command line, or name the file with`)} ${bold('--config')}.`,
    exitSection(),
    `.SH SEE ALSO\n${bold('repa-tensors')}(5), ${bold('repa-log')}(5)`,
  ].join('\n')}\n`;
}
