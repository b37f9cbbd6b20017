/**
 * Trains the encoder that ships with repa, `src/assets/emoji-vit.safetensors`: a vision transformer of DINOv2's layout
 * for pictures of 64 pixels, 128 wide and 4 blocks deep, on four fifths of the emoji.
 *
 *     node dist/examples/train-emoji-encoder.js --work runs/emoji-vit -o src/assets/emoji-vit.safetensors
 *
 * The objective is supervised by the emoji's subcategories, categories and names, with the reconstruction of hidden
 * patches beside it. What is shipped is the moving average of the weights, in f16. Stopped, it goes on from the newest
 * snapshot in the folder --work. At the end it prints how well held-out emoji are told apart, against raw pixels and
 * the same network before training.
 */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { selectBackend } from '../src/lib/engine/index.js';
import type { HostTensor } from '../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../src/lib/formats/safetensors.js';
import { halfFromFloat } from '../src/lib/numbers/half.js';
import { PURPOSE, permutation } from '../src/lib/numbers/random.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';
import { captureGradients, ParameterStore } from '../src/lib/optim/index.js';
import { isHeldOut, listEmoji, readEmoji } from './emoji/dataset.js';
import { initEncoder, isHead } from './emoji/encoder-model.js';
import { encoderFeatures, type Features, judge, type Picture, pixelFeatures } from './emoji/evaluation.js';
import { encoderLoss, lossInputs, vocabularyOf, writeTargets } from './emoji/objective.js';
import { restoreSnapshot, saveSnapshot } from './emoji/snapshot.js';
import { drawsOf, hidePatches, writePatches, writeView } from './emoji/views.js';

const { values: options } = parseArgs({
  options: {
    out: { type: 'string', short: 'o', default: 'emoji-vit.safetensors' },
    work: { type: 'string', default: 'emoji-vit' },
    steps: { type: 'string', default: '1500' },
    threads: { type: 'string', default: '1' },
  },
});
const STEPS = Number(options.steps);
const SEED = 0;
const BATCH = 64;
const LEARNING_RATE = 1e-3;
const WARMUP = 100;
const SNAPSHOT_EVERY = 100;

await selectBackend({ threads: Number(options.threads) });
const pictures: Picture[] = await Promise.all(
  listEmoji().map(async (emoji) => ({ emoji, pixels: await readEmoji(emoji) })),
);
const originals = pictures.filter(({ emoji }) => emoji.tone === '');
const groups = groupTones(pictures.filter(({ emoji }) => !isHeldOut(emoji)));
const vocabulary = vocabularyOf(pictures.map(({ emoji }) => emoji));

const store = new ParameterStore(initEncoder(vocabulary, SEED));
report('raw pixels', pixelFeatures);
report('before training', encoderFeatures(store.emaTensors));
mkdirSync(options.work, { recursive: true });
const snapshot = path.join(options.work, 'snapshot.safetensors');
let order: { epoch: number; emoji: Uint32Array } = { epoch: -1, emoji: new Uint32Array() };
train(restoreSnapshot(snapshot, store));
report('trained', encoderFeatures(store.emaTensors));
ship(options.out);

/**
 * The pictures of each emoji, one skin tone or all: a step draws emoji first, so that people do not outnumber the rest.
 */
function groupTones(all: readonly Picture[]): Picture[][] {
  const byCodes = new Map<string, Picture[]>();
  for (const picture of all) {
    const group = byCodes.get(picture.emoji.codes) ?? [];
    byCodes.set(picture.emoji.codes, group);
    group.push(picture);
  }
  return [...byCodes.values()];
}

function train(from: number): void {
  const specs = lossInputs(BATCH, vocabulary);
  const gradients = captureGradients(store, (...inputs) => encoderLoss(store.tensors, inputs), specs);
  const inputs = specs.map(({ shape }) => new Float32Array(sizeOf(shape)));
  for (let step = from; step < STEPS; step++) {
    fillBatch(inputs, step);
    const losses = gradients.run(...inputs).map(([value]) => Number(value));
    const progress = step / STEPS;
    const gradientNorm = store.step({
      step: step + 1,
      lr: LEARNING_RATE * Math.min(1, (step + 1) / WARMUP) * (0.5 + 0.5 * Math.cos(Math.PI * progress)),
      beta1: 0.9,
      beta2: 0.99,
      epsilon: 1e-8,
      weightDecay: 0.05,
      clip: 1,
      emaDecays: [Math.min(0.99, step / (step + 10))],
    });
    if ((step + 1) % SNAPSHOT_EVERY !== 0) continue;
    saveSnapshot(snapshot, store, step + 1);
    const [loss, cls, patches, words, pixels] = losses.map((value) => Number(value.toFixed(3)));
    console.log(JSON.stringify({ step: step + 1, loss, cls, patches, words, pixels, gradientNorm }));
  }
}

/** Views and targets of one step; each row depends on its number alone. */
function fillBatch(inputs: readonly Float32Array[], step: number): void {
  const rowOf = (input: Float32Array, row: number) => {
    const size = input.length / BATCH;
    return input.subarray(row * size, (row + 1) * size);
  };
  for (let row = 0; row < BATCH; row++) {
    const draw = drawsOf(SEED, step, row);
    const tones = pick(step * BATCH + row);
    const { emoji, pixels } = tones[Math.floor(draw(0, tones.length))];
    const [view, subcategory, category, word, patches, mask] = inputs.map((input) => rowOf(input, row));
    writeView(pixels, view, draw);
    writePatches(view, patches);
    hidePatches(view, mask, draw);
    writeTargets(emoji, vocabulary, [subcategory, category, word]);
  }
}

/** The emoji whose turn it is: each comes once an epoch, in an order of the epoch's own. */
function pick(index: number): Picture[] {
  const epoch = Math.floor(index / groups.length);
  if (order.epoch !== epoch) order = { epoch, emoji: permutation(groups.length, SEED, PURPOSE.shuffle, epoch) };
  return groups[order.emoji[index % groups.length]];
}

function report(name: string, features: Features): void {
  const all = judge(pictures, features);
  const one = judge(originals, features);
  const shown = (value: number) => value.toFixed(1);
  console.log(
    `${name}: 20-NN of held-out emoji by category ${shown(one.category)} %, by subcategory ${shown(one.subcategory)} %; ` +
      `with all skin tones ${shown(all.category)} % and ${shown(all.subcategory)} %`,
  );
}

/** The encoder alone, in f16. */
function ship(file: string): void {
  const encoder = store.parameters.filter(({ name }) => !isHead(name));
  const tensors = encoder.map(({ name, shape, averages: [ema] }): [string, HostTensor] => [
    name,
    { shape: [...shape], dtype: 'f16', data: halfFromFloat(ema) },
  ]);
  writeSafetensors(file, tensors, { steps: String(STEPS), data: 'emoji-datasource-google' });
}
