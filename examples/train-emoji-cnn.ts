/**
 * Trains the second encoder that ships with repa, `src/assets/emoji-cnn.onnx`: a residual network of 64 pixels to a map
 * of 4 x 4 cells, on four fifths of the emoji.
 *
 *     node dist/examples/train-emoji-cnn.js --work runs/emoji-cnn -o src/assets/emoji-cnn.onnx
 *
 * Its objective is contrastive: of two random views of a picture, each has to be found by the other among those of
 * other pictures. With the weight --labels it also names the subcategory of the emoji. What is shipped is the moving
 * average of the weights with the norms folded in, in f16. Stopped, it goes on from the newest snapshot in the folder
 * --work. At the end it prints how well held-out emoji are told apart, against raw pixels.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { capture, selectBackend, tf } from '../src/lib/engine/index.js';
import type { Weights } from '../src/lib/models/parameters.js';
import { ParameterStore } from '../src/lib/optim/index.js';
import { openEncoder } from '../src/lib/pretrained/encoder.js';
import { tokenMeans } from '../src/lib/pretrained/token-means.js';
import {
  classify,
  cnn,
  cnnModel,
  contrast,
  DIM,
  type FixedStatistics,
  initCnn,
  LAYERS,
  pooled,
} from './emoji/cnn-model.js';
import { listEmoji, readEmoji, SIDE } from './emoji/dataset.js';
import { judge, type Picture, pixelFeatures } from './emoji/evaluation.js';
import { crossEntropy } from './emoji/objective.js';
import { PictureOrder, SEED, trainNetwork } from './emoji/training-loop.js';
import { drawsOf, VIEW_SHAPE, VIEW_SIZE, writeView } from './emoji/views.js';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', short: 'o', default: 'emoji-cnn.onnx' },
    work: { type: 'string', default: 'emoji-cnn' },
    steps: { type: 'string', default: '500' },
    labels: { type: 'string', default: '0.5' },
    threads: { type: 'string', default: '1' },
  },
});
const PICTURES = 48;
const VIEWS = 2 * PICTURES;
const LABEL_WEIGHT = Number(options.labels);
/** Batches that the statistics of the norms are the means of. */
const STATISTICS_BATCHES = 30;

await selectBackend({ threads: Number(options.threads) });
const pictures: Picture[] = await Promise.all(
  listEmoji().map(async (emoji) => ({ emoji, pixels: await readEmoji(emoji) })),
);
const subcategories = [...new Set(pictures.map(({ emoji }) => emoji.subcategory))];
const order = new PictureOrder(pictures);
const store = new ParameterStore(initCnn(SEED, { subcategory: subcategories.length }));
const VIEW_SPEC = { shape: [VIEWS, ...VIEW_SHAPE], dtype: 'float32' } as const;

trainNetwork({
  store,
  loss(views, subcategory) {
    const features = pooled(cnn(store.tensors, views).map); // [2B, D]
    const contrastive = contrast(store.tensors, features);
    const named = crossEntropy(subcategory, classify(store.tensors, 'subcategory', features));
    return [tf.add(contrastive, tf.mul(named, LABEL_WEIGHT)), contrastive, named];
  },
  parts: ['contrastive', 'named'],
  inputs: [VIEW_SPEC, { shape: [VIEWS, subcategories.length], dtype: 'float32' }],
  fill: fillBatch,
  steps: Number(options.steps),
  learningRate: 2e-3,
  weightDecay: 0.05,
  emaDecay: 0.99,
  folder: options.work,
});
const weights: Weights = new Map(
  store.parameters.map(({ name, shape, averages: [ema] }) => [name, { shape, data: ema }]),
);
writeFileSync(options.out, cnnModel(weights, trainingStatistics()));
await report();

/** Two views of each picture: the second ones after all first ones. */
function fillBatch([views, labels]: readonly Float32Array[], step: number): void {
  labels.fill(0);
  for (let row = 0; row < VIEWS; row++) {
    const draw = drawsOf(SEED, step, row);
    const tones = order.at(step * PICTURES + (row % PICTURES));
    const { emoji, pixels } = tones[Math.floor(draw(0, tones.length))];
    writeView(pixels, views.subarray(row * VIEW_SIZE, (row + 1) * VIEW_SIZE), draw);
    labels[row * subcategories.length + subcategories.indexOf(emoji.subcategory)] = 1;
  }
}

/** The statistics that the trained network meets in front of its norms. */
function trainingStatistics(): FixedStatistics[] {
  const program = capture(
    (views) => cnn(store.emaTensors, views).statistics.flatMap(({ mean, variance }) => [mean, variance]),
    [VIEW_SPEC],
  );
  const sums = LAYERS.map(({ outputs }) => ({ mean: new Float32Array(outputs), variance: new Float32Array(outputs) }));
  const batch = [new Float32Array(VIEWS * VIEW_SIZE), new Float32Array(VIEWS * subcategories.length)];
  for (let i = 0; i < STATISTICS_BATCHES; i++) {
    fillBatch(batch, Number(options.steps) + i);
    const results = program.run(batch[0]) as Float32Array[];
    for (const [layer, { mean, variance }] of sums.entries()) {
      for (let c = 0; c < mean.length; c++) {
        mean[c] += results[2 * layer][c] / STATISTICS_BATCHES;
        variance[c] += results[2 * layer + 1][c] / STATISTICS_BATCHES;
      }
    }
  }
  program.dispose();
  return sums;
}

/** What the file that was written knows of held-out emoji. */
async function report(): Promise<void> {
  const encoder = await openEncoder({ encoder: options.out, posEmbed: 'timm', batchSize: VIEWS });
  const features = (set: readonly Picture[]): Float32Array => {
    const { feature } = encoder.encode(set.map(({ pixels: data }) => ({ width: SIDE, height: SIDE, data })));
    return tokenMeans(feature, encoder.tokens, DIM);
  };
  const originals = pictures.filter(({ emoji }) => emoji.tone === '');
  const shown = (value: number) => value.toFixed(1);
  for (const [name, of] of [
    ['raw pixels', pixelFeatures],
    ['trained', features],
  ] as const) {
    const [one, all] = [judge(originals, of), judge(pictures, of)];
    console.log(
      `${name}: 20-NN of held-out emoji by category ${shown(one.category)} %, by subcategory ${shown(one.subcategory)} %; ` +
        `with all skin tones ${shown(all.category)} % and ${shown(all.subcategory)} %`,
    );
  }
  encoder.dispose();
}
