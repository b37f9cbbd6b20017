/**
 * One training step of SiT with REPA, the very one that `repa train` takes: draws, loss, gradients, clipping, AdamW,
 * moving average. A contestant of bench/contest.ts: it answers every line of stdin, `step` or `gemm`, with the time it
 * took.
 *
 *     echo step | node dist/bench/train-step.js --model SiT-S/2 --batch 8
 */
import { parseArgs } from 'node:util';
import { selectBackend } from '../src/lib/engine/index.js';
import { activeDevice } from '../src/lib/engine/select.js';
import { patchCount, sitConfig } from '../src/lib/models/dit-sizes.js';
import { sizeOf } from '../src/lib/numbers/typed-array.js';
import { ALONE } from '../src/lib/parallel/group.js';
import { type Network, startingNetwork } from '../src/lib/repa/network.js';
import { compileLoss } from '../src/lib/training/compiled-loss.js';
import { DrawnBatches } from '../src/lib/training/data/drawn.js';
import type { TrainingSettings } from '../src/lib/training/record.js';
import { Stopwatch } from '../src/lib/training/stopwatch.js';
import { modelStore } from '../src/lib/training/store.js';
import { takeStep } from '../src/lib/training/train.js';
import { answer, normals } from './contestant.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'SiT-S/2' },
    batch: { type: 'string', default: '8' },
    backend: { type: 'string', default: 'onnx' },
    precision: { type: 'string' },
    'checkpoint-blocks': { type: 'string', default: '0' },
  },
});
const rows = Number(flags.batch);

const precision = flags.precision as 'f32' | 'f32x2' | 'bf16' | undefined;
await selectBackend({ backend: flags.backend as 'onnx', precision });

const model = sitConfig(flags.model, { alignDepth: 4 });
const dims = [768];
const network: Network = {
  architecture: 'SiT',
  model,
  methods: { repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 2048, dims } },
};
const settings: TrainingSettings = {
  ...{
    batchSize: rows,
    microBatch: rows,
    seed: 0,
    labelDropout: 0.1,
    path: 'linear',
    time: 'uniform',
    timeShift: 1,
    timeMean: 0,
    timeDeviation: 1,
  },
  ...{
    optimizer: 'adamw',
    learningRate: 1e-4,
    warmup: 0,
    schedule: 'constant',
    scheduleFrom: 0,
    finalRate: 0,
    scheduleSteps: null,
    beta2: 0.999,
  },
  ...{ weightDecay: 0, clip: 1, termSchedules: [], emaDecays: [0.9999], precision: precision ?? 'f32' },
};

/** Layers that start at zero would keep most gradients zero. */
function* weights() {
  for (const [name, { shape, data }] of startingNetwork(network, 0)) {
    yield [name, { data: data.some((value) => value !== 0) ? data : normals(shape, 0.02) }] as const;
  }
}

const store = modelStore(network, { weights: weights() });
const latentShape = [model.inChannels, model.inputSize, model.inputSize];
const features = dims.map((dim) => ({ name: 'features', tokens: patchCount(model), dim }));
const checkpointBlocks = Number(flags['checkpoint-blocks']);
const loss = compileLoss(store, { network, training: settings, latentShape, features }, { rows, checkpointBlocks });
const batch = {
  latents: normals([rows * sizeOf(latentShape)]),
  labels: Int32Array.from({ length: rows }, (_, index) => (index * 37) % model.numClasses),
  features: features.map(({ tokens, dim }) => normals([rows, tokens, dim])),
};

let step = 0;
let drawn = 0;
const source = { next: async () => ({ ...batch, rows, seed: settings.seed, step: drawn++, position: 0 }) };
const batches = new DrawnBatches(source, Number.POSITIVE_INFINITY, activeDevice() ? new Stopwatch() : undefined);
await answer(async () => {
  const work = { store, loss, settings, age: step + 1, passes: 1, group: ALONE, lossLimit: Number.POSITIVE_INFINITY };
  const watch = new Stopwatch();
  await takeStep(work, step, batches, watch);
  step++;
  return { dataMilliseconds: 1000 * watch.seconds('data') };
});
