/** repa extract-hidden: what the blocks of a trained model make of noisy latents. */

import { Progress } from '../lib/cli/progress.js';
import { provenance } from '../lib/cli/provenance.js';
import { batchSize, DTYPE, ENGINE, OUT, SEED } from '../lib/cli/shared-options.js';
import { checkBinaryOutput, writeStream } from '../lib/cli/tensor-output.js';
import { verb } from '../lib/cli/verb.js';
import { engineEntry } from '../lib/engine/select.js';
import { DataError, UsageError } from '../lib/errors.js';
import { choice, decimal, flag, integer, list, text } from '../lib/options/option.js';
import type { DiffusionModel } from '../lib/sampling/model.js';
import { DIFFUSION_MODEL } from '../lib/sampling/options.js';
import type { TrainingSet } from '../lib/training/data/set.js';

const description = `Adds noise to latents as training does, runs a checkpoint on them, and keeps the tokens after chosen blocks: the
hidden states that cknna compares with an encoder's features, and that probe classifies.

One block at one time gives a column 'hidden'; several give columns such as 'hidden.b4.t0.5'.`;

const examples = [
  {
    why: 'the alignment of every block, as the paper plots it',
    command: 'repa extract-hidden --blocks all --t 0.5 --null-label > hidden && repa cknna hidden feats',
  },
];

interface SetOptions {
  latents: string;
  feats?: string;
  text?: string;
  nullLabel?: true;
}

export const command = verb({
  description,
  examples,
  options: {
    ...DIFFUSION_MODEL,
    latents: text('--latents <path>', 'latents made by encode-vae', { default: 'latents' }),
    feats: text('--feats <path>', 'features, for a model that generates what they hold with the image', {
      defaultText: 'feats',
    }),
    blocks: list('--blocks <list>', 'all, or numbers of blocks, 1 is the first', String, {
      defaultText: 'the aligned one',
    }),
    t: list('--t <list>', 'times: 0 is data, 1 is noise', decimal(0, 1), { default: [0.5] }),
    pool: choice('--pool <how>', 'one vector an image, or all tokens', ['mean', 'none'], { default: 'mean' }),
    text: text('--text <path>', 'of an MM-DiT: captions of the images, made by encode-text'),
    nullLabel: flag(
      '--null-label',
      'give the model the null class, or the empty caption, instead of what the images have',
    ),
    num: integer('--num <n>', 'only the first n images', { min: 1 }),
    seed: SEED,
    dtype: DTYPE,
    batchSize: batchSize(16),
    out: OUT,
    ...ENGINE,
  },
  run: async (options) => {
    checkBinaryOutput(options);
    const { selectBackend } = await import('../lib/engine/index.js');
    const { checkHints, loadDiffusionModel } = await import('../lib/sampling/load.js');
    const { HiddenStateExtractor } = await import('../lib/sampling/hidden-states.js');
    const { tokenMeans } = await import('../lib/pretrained/token-means.js');
    const { patchCount } = await import('../lib/models/dit-sizes.js');
    const { repeated } = await import('../lib/numbers/typed-array.js');

    checkHints(options.ckpt, options);
    await selectBackend(options);
    const model = loadDiffusionModel(options.ckpt, options);
    const { depth, alignDepth, hiddenSize, numClasses } = model.record.model;
    const blocks = parseBlocks(options.blocks ?? [String(alignDepth)], depth);
    checkText(model, options.text);
    const set = await openSet(options, model);
    const { batchSize, seed, pool, t: times, dtype } = options;
    const extractor = new HiddenStateExtractor(model, { blocks, times, batchSize, seed });
    const tokens = patchCount(model.record.model);
    const shape = pool === 'mean' ? [hiddenSize] : [tokens, hiddenSize];
    const dimNames = pool === 'mean' ? ['dim'] : ['tokens', 'dim'];
    const single = blocks.length * times.length === 1;
    const nameOf = (block: number, time: number): string => (single ? 'hidden' : `hidden.b${block}.t${time}`);
    const columns = times.flatMap((time) =>
      blocks.map((block) => ({ name: nameOf(block, time), dtype, shape, dimNames })),
    );
    const { step } = model.record;
    const hidden = { blocks, times, pool, nullLabel: options.nullLabel ?? false, seed, step, weights: model.weights };
    const metadata = provenance('hidden', {
      'repa.model': model.source,
      'repa.model.sha256': model.sha256,
      'repa.engine': engineEntry(),
      'repa.hidden': JSON.stringify(hidden),
    });
    const rows = Math.min(options.num ?? set.rows, set.rows);
    const progress = new Progress('extract-hidden', { unit: 'images', total: rows, quiet: options.quiet });
    await writeStream(options, { columns, metadata }, async (writer) => {
      for (let start = 0; start < rows; start += batchSize) {
        const count = Math.min(batchSize, rows - start);
        // The last batch is filled up with its last image: another size would have to be compiled.
        const indices = Uint32Array.from({ length: batchSize }, (_, row) => start + Math.min(row, count - 1));
        const batch = await set.read(indices, seed, 0, start, false);
        const { labels } = batch;
        const given = set.captions
          ? options.nullLabel
            ? repeated(set.captions.empty, batchSize)
            : batch.texts!
          : labels.map((label) => (options.nullLabel || label < 0 ? numClasses : label));
        const states = new Map<string, Float32Array>(); // [B, T, D] or [B, D] of each column
        for (const { block, time, tokens: values } of extractor.states(batch, given, start)) {
          states.set(nameOf(block, time), pool === 'mean' ? tokenMeans(values, tokens, hiddenSize) : values);
        }
        for (let row = 0; row < count; row++) {
          const tensors = [...states].map(([name, values]) => {
            const size = values.length / batchSize;
            return [name, values.subarray(row * size, (row + 1) * size)];
          });
          await writer.append(set.keyOf(start + row), labels[row], Object.fromEntries(tensors));
        }
        progress.advance(count);
      }
    });
    extractor.dispose();
    await set.close();
    progress.finish();
  },
});

/**
 * Opens the latents, with what the model generates beside them.
 * @throws UsageError for images without a label and a model without a null class; DataError for labels that the model
 *   does not have, or a model that does not tell what it generates
 */
async function openSet(options: SetOptions, model: DiffusionModel): Promise<TrainingSet> {
  const { TrainingSet } = await import('../lib/training/data/set.js');
  const { storedPreparation } = await import('../lib/training/data/preparation.js');
  const { record, source } = model;
  const { besides, missing } = storedPreparation(record, source);
  if (missing.length > 0) {
    throw new DataError(
      `${source}: generates components of features, but does not say which`,
      'Name the folder that train wrote: an export holds the weights alone.',
    );
  }
  const generates = besides.classToken || besides.channels !== undefined;
  if (options.feats !== undefined && !generates) throw new UsageError(`--feats does nothing: ${source} needs none`);
  const set = await TrainingSet.open(options.latents, generates ? [options.feats ?? 'feats'] : [], {
    pixels: record.latent.shape[1],
    ...(options.text !== undefined && { text: options.text }),
  });
  set.include(besides);
  checkLabels(set, options, model);
  return set;
}

/** @throws UsageError or DataError for labels that the model does not have, where it takes labels */
function checkLabels(set: TrainingSet, { latents, nullLabel }: SetOptions, { record, source }: DiffusionModel): void {
  if (set.captions) return;
  const { numClasses, nullClass } = record.model;
  const unlabelled = set.rows - set.latents.labelled;
  if (!nullClass && (nullLabel || unlabelled > 0)) {
    const what = nullLabel ? '--null-label' : `${unlabelled} images of ${latents} have no label`;
    throw new UsageError(`${what}: ${source} has no null class, but classes alone`);
  }
  if (nullLabel || set.latents.classes <= numClasses) return;
  throw new DataError(
    `${latents}: the labels go up to ${set.latents.classes - 1}, ${source} has ${numClasses} classes`,
    'Use --null-label.',
  );
}

/**
 * @throws UsageError for captions of a network that takes none, or none of one that does; DataError for those of other
 * sizes
 */
function checkText({ record, source }: DiffusionModel, text: string | undefined): void {
  if (record.model.text && text === undefined) {
    throw new UsageError(
      `${source} draws from text`,
      'Name the captions of the images by --text, made by encode-text.',
    );
  }
  if (!record.model.text && text !== undefined)
    throw new UsageError(`--text: ${source} draws from classes, not from text`);
}

function parseBlocks(list: readonly string[], depth: number): number[] {
  if (list.length === 1 && list[0] === 'all') return Array.from({ length: depth }, (_, i) => i + 1);
  return list.map((item) => {
    const block = Number(item);
    if (Number.isInteger(block) && block >= 1) return block;
    throw new UsageError(`--blocks ${item}: it takes all, or numbers from 1 to ${depth}`);
  });
}
