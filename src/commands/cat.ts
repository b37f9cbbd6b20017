/** repa cat: several tensor streams to one. */

import { JSON_ROWS, writeRows } from '../lib/cli/row-output.js';
import { OUT } from '../lib/cli/shared-options.js';
import { operand, verb } from '../lib/cli/verb.js';
import { DataError, UsageError } from '../lib/errors.js';
import { classDifference } from '../lib/images/class-map.js';
import { flag } from '../lib/options/option.js';
import { copyRows } from '../lib/stream/copy.js';
import { meaningDifferences } from '../lib/stream/meaning.js';
import { openTensorStream } from '../lib/stream/reader.js';
import { sameColumns, showColumn } from '../lib/stream/schema.js';

const description = `Reads tensor streams one after the other and writes their rows as a single stream.

Unlike cat(1), whose output repa also reads, it checks every input, refuses streams of other columns or another meaning (another
model, latent scale, preprocessing, numbering of classes), and gives rows one numbering and one end. The metadata of the first
stream is kept; --mixed keeps it also for streams that mean something else. A shard folder is read in the order of its parts.`;

const examples = [
  { why: 'join the parts that four machines made', command: 'repa cat part0 part1 part2 part3 -o latents' },
  { why: 'one file from a shard folder', command: 'repa cat latents/ > latents.arrows' },
];

type Metadata = Readonly<Record<string, string>>;

export const command = verb({
  description,
  examples,
  operands: [operand('[streams...]', 'files, shard folders, or - for stdin (default: stdin)')],
  options: {
    mixed: flag('--mixed', 'join streams although their headers say that their values differ in meaning'),
    out: OUT,
    json: JSON_ROWS,
  },
  run: async (paths, options) => {
    const inputs = paths.length > 0 ? paths : ['-'];
    if (inputs.indexOf('-') !== inputs.lastIndexOf('-')) throw new UsageError('stdin can be read once', 'Name a file.');
    const first = await openTensorStream(inputs[0]);
    await writeRows(options, first.schema, async (writer) => {
      for (const [i, path] of inputs.entries()) {
        const reader = i === 0 ? first : await openTensorStream(path);
        if (!sameColumns(reader.schema.columns, first.schema.columns)) {
          const [here, there] = [reader, first].map(({ schema }) => schema.columns.map(showColumn).join(', '));
          throw new DataError(`${path}: has ${here}, but ${inputs[0]} has ${there}`);
        }
        if (!options.mixed) checkMeaning(path, reader.schema.metadata, inputs[0], first.schema.metadata);
        await copyRows(reader, writer);
        await reader.close();
      }
    });
  },
});

/** @throws DataError naming what differs */
function checkMeaning(path: string, own: Metadata, firstPath: string, first: Metadata): void {
  const classes = classDifference(first, own);
  const [difference = classes] = meaningDifferences(first, own);
  if (difference === undefined) return;
  throw new DataError(
    `${firstPath} and ${path} do not hold the same kind of values: ${difference}`,
    '--mixed joins them all the same, under the header of the first.',
  );
}
