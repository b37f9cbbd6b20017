/** repa report: runs as one page to read and to keep. */

import path from 'node:path';
import { RESULTS } from '../lib/cli/shared-options.js';
import { say } from '../lib/cli/terminal.js';
import { operand, verb } from '../lib/cli/verb.js';
import { writeFileAtomic } from '../lib/files/atomic-file.js';
import { readSmallFile } from '../lib/files/small-file.js';
import { flag, list, text } from '../lib/options/option.js';

const description = `Writes one HTML page about training runs: the curves of their logs, the samples of --eval-every beside each other,
their settings and where they differ, and numbers that were measured on them. It is the page of repa watch, frozen: everything is
in the one file, which needs nothing from elsewhere.

Numbers are read from files of the lines that --json prints, of fid, cknna or probe; each line is a row of the table,
with all that it says of how it was measured. Numbers of one kind that were measured in different ways are refused, with what differs;
--mixed shows them beside each other all the same. Those of hidden states by block (columns such as hidden.b4.t0.5) are drawn too.`;

const examples = [
  { why: 'curves, samples and settings', command: 'repa report ckpt -o report.html' },
  { why: 'two runs beside each other', command: 'repa report ckpt ckpt-plain -o comparison.html' },
  {
    why: 'with what was measured, and a sheet of samples',
    command:
      'repa sample --num 64 --grid samples.png && repa sample --cfg 1.8 | repa fid --json > fid.ndjson && repa report ckpt --results fid.ndjson --picture samples.png -o report.html',
  },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[runs...]', 'training folders, logs, or a checkpoint (default: ckpt)')],
  options: {
    out: text('-o, --out <file.html>', 'the page to write', { default: 'report.html', writes: 'file' }),
    results: RESULTS,
    picture: list('--picture <files>', 'pictures to show, separated by commas: PNG or JPEG', String, { default: [] }),
    mixed: flag('--mixed', 'also numbers that were not measured alike'),
    title: text('--title <text>', 'what the page is called', { defaultText: 'the names of the runs' }),
  },
  run: async (locations, options) => {
    const { RunFolder } = await import('../lib/runs/run-folder.js');
    const { runPage } = await import('../lib/runs/page.js');
    const { readResults } = await import('../lib/runs/results.js');
    const runs = (locations.length > 0 ? locations : ['ckpt']).map((location) => {
      const folder = new RunFolder(location);
      const { replaced: _, ...view } = folder.changes((file) => dataUri(folder.picture(file)!, file));
      return view;
    });
    const results = readResults(options.results);
    if (!options.mixed) {
      const { checkAlike } = await import('../lib/runs/comparison.js');
      checkAlike(runs);
      checkAlike(results.map((line, i) => ({ name: `result ${i + 1}`, lines: [line] })));
    }
    const { html } = runPage({
      title: options.title ?? runs.map(({ name }) => name).join(', '),
      live: false,
      runs,
      results,
      pictures: options.picture.map((file) => ({ name: path.basename(file), uri: dataUri(readSmallFile(file), file) })),
    });
    writeFileAtomic(options.out, html);
    if (options.quiet) return;
    const lines = runs.reduce((sum, run) => sum + run.lines.length, 0);
    say(`${options.out}: ${runs.length} runs, ${lines} lines of logs, ${results.length} results`);
  },
});

const dataUri = (bytes: Buffer, file: string): string =>
  `data:image/${/\.jpe?g$/i.test(file) ? 'jpeg' : 'png'};base64,${bytes.toString('base64')}`;
