/** repa report: a run as one page to read and to keep. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { integer, listOf, text } from '../lib/cli/parse.js';
import { type ReportParts, readResults, reportPage } from '../lib/cli/report-page.js';
import { verb } from '../lib/cli/verb.js';
import { MissingInputError } from '../lib/errors.js';
import { writeFileAtomic, writeFully } from '../lib/files/atomic-file.js';
import { findCheckpoint, readCheckpointConfig } from '../lib/training/checkpoint.js';

const description = `Writes one HTML page about a training run: its settings, the curves of its log, sheets of samples, and numbers that
were measured on it. Everything is in the one file, which needs nothing from elsewhere.

Numbers are read from files of the lines that --json prints, of fid, cknna or probe; each line is a row of the table,
with all that it says of how it was measured.`;

const examples = [
  { why: 'settings and curves', command: 'repa report ckpt -o report.html' },
  {
    why: 'with what was measured, and a sheet of samples',
    command:
      'repa sample --num 64 --grid samples.png && repa sample --cfg 1.8 | repa fid --json > fid.ndjson && repa report ckpt --results fid.ndjson --picture samples.png -o report.html',
  },
];

export const command = () =>
  verb('report', { summary: 'write a page about a run: settings, curves, samples, numbers', description, examples })
    .argument('[checkpoint]', 'a training folder, or one checkpoint in it', 'ckpt')
    .option('-o, --out <file.html>', 'the page to write', 'report.html')
    .option('--results <files>', 'lines of --json, in files separated by commas', listOf(text), [])
    .option('--picture <files>', 'pictures to show, separated by commas: PNG or JPEG', listOf(text), [])
    .option('--field <names>', 'fields of the log to draw', listOf(text), ['velocity_loss'])
    .option('--smooth <n>', 'average the curves over this many neighbouring points', integer(1), 1)
    .action(async (checkpoint, options) => {
      const { drawCurves, readLog, smooth } = await import('../lib/cli/training-plot.js');
      const folder = findCheckpoint(checkpoint);
      const config = readCheckpointConfig(folder);
      const log = [checkpoint, path.dirname(folder)]
        .map((place) => path.join(place, 'log.ndjson'))
        .find((file) => existsSync(file));
      const curves = log
        ? smooth(await readLog(log, path.basename(path.dirname(log)), options.field), options.smooth)
        : [];
      const parts: ReportParts = {
        title: path.basename(path.resolve(checkpoint)),
        config,
        curves: curves.length > 0 ? drawCurves(curves) : undefined,
        pictures: options.picture.map((file) => ({ name: path.basename(file), uri: dataUri(file) })),
        results: options.results.flatMap((file) => readResults(readText(file), file)),
      };
      const page = reportPage(parts);
      writeFileAtomic(options.out, (fd) => writeFully(fd, Buffer.from(page)));
      if (!options.quiet)
        process.stderr.write(`${options.out}: ${parts.results.length} results, step ${config.step}\n`);
    });

function readText(file: string): string {
  if (!existsSync(file)) throw new MissingInputError(`${file}: no such file`);
  return readFileSync(file, 'utf8');
}

function dataUri(file: string): string {
  if (!existsSync(file)) throw new MissingInputError(`${file}: no such file`);
  const type = /\.jpe?g$/i.test(file) ? 'jpeg' : 'png';
  return `data:image/${type};base64,${readFileSync(file).toString('base64')}`;
}
