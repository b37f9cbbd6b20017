/**
 * One SiT + REPA training step: gradients, clipping, AdamW, moving averages. A contestant of bench/contest.ts:
 * it answers every line of stdin, `step` or `gemm`, with the time it took.
 *
 *     echo step | node dist/bench/train-step.js --model SiT-S/2 --batch 8
 */
import { parseArgs } from 'node:util';
import { REPA } from '../src/lib/align/settings.js';
import { sitTrainingLoss } from '../src/lib/align/training-loss.js';
import { selectBackend, type TensorSpec } from '../src/lib/engine/index.js';
import { sitConfig } from '../src/lib/models/sit.js';
import { FROZEN, initSiT, sitParameters } from '../src/lib/models/sit-parameters.js';
import { captureGradients, ParameterStore } from '../src/lib/optim/index.js';
import { answer, normals } from './contestant.js';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: 'SiT-S/2' },
    batch: { type: 'string', default: '8' },
    backend: { type: 'string', default: 'onnx' },
    'checkpoint-blocks': { type: 'string', default: '0' },
  },
});
const batch = Number(flags.batch);

await selectBackend({ backend: flags.backend as 'onnx' });

const config = sitConfig(flags.model, { alignDepth: 4 });
const store = new ParameterStore(
  [...sitParameters(config)].map(([name, { shape }]) => {
    return { name, shape, learning: FROZEN.has(name) ? 'frozen' : 'adamw' };
  }),
);
let index = 0;
for (const [, { shape, data }] of initSiT(config, 0)) {
  // Layers that start at zero would keep most gradients zero.
  store.parameters[index++].value.set(data.some((value) => value !== 0) ? data : normals(shape, 0.02));
}
store.refresh();
const side = config.inputSize;
const tokens = (side / config.patchSize) ** 2;
const specs: TensorSpec[] = [
  { shape: [batch, config.inChannels, side, side], dtype: 'float32' }, // x
  { shape: [batch, config.inChannels, side, side], dtype: 'float32' }, // noise
  { shape: [batch], dtype: 'float32' }, // t
  { shape: [batch], dtype: 'int32' }, // y
  { shape: [batch, tokens, config.zDims[0]], dtype: 'float32' }, // features
];
const gradients = captureGradients(
  store,
  (x, noise, t, y, features) => {
    const checkpointBlocks = Number(flags['checkpoint-blocks']);
    const inputs = { x, noise, t, y, targets: [features], checkpointBlocks };
    const settings = { ...REPA, path: 'linear' } as const;
    const { total, velocity, projection } = sitTrainingLoss(store.tensors, config, inputs, settings);
    return [total, velocity, projection];
  },
  specs,
);
const [x, noise, , , features] = specs.map(({ shape }) => normals(shape));
const t = Float32Array.from({ length: batch }, (_, index) => (index + 0.5) / batch);
const y = Int32Array.from({ length: batch }, (_, index) => (index * 37) % config.numClasses);

let count = 0;
function step(): void {
  gradients.run(x, noise, t, y, features);
  count++;
  store.step({
    lr: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0,
    step: count,
    clip: 1,
    emaDecays: [0.9999],
  });
}

await answer(step);
