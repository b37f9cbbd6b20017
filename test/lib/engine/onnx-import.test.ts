/** ONNX networks as recorded graphs: each operator computes what ONNX Runtime makes of the same file. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { capture, selectBackend } from '../../../src/lib/engine/index.js';
import { type Attributes, encodeModel, type OnnxNode } from '../../../src/lib/engine/onnx/model.js';
import { NotLowered, readGraph, tensorFunction } from '../../../src/lib/engine/onnx-import/index.js';
import { openOnnxModel } from '../../../src/lib/engine/onnx-model.js';
import { DataError } from '../../../src/lib/errors.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { temporaryFolder } from '../../support.js';
import { assertClose, largestMagnitude } from '../../tensors.js';

before(() => selectBackend({ backend: 'onnx', threads: 1 }));
const folder = temporaryFolder();
let files = 0;

const waves = (length: number, seed = 0): Float32Array =>
  Float32Array.from({ length }, (_, i) => Math.sin(12.9898 * i + seed));

/** Initializers by name: integers where they are listed as such, else waves of a shape. */
type Weights = Record<string, number[] | { shape: number[]; data?: Float32Array }>;

const initializers = (weights: Weights) =>
  Object.entries(weights).map(([name, what], seed) =>
    Array.isArray(what)
      ? { name, dtype: 'int64' as const, shape: [what.length], data: BigInt64Array.from(what, BigInt) }
      : { name, dtype: 'float32' as const, shape: what.shape, data: what.data ?? waves(sizeOf(what.shape), seed + 1) },
  );

const node = (type: string, inputs: string, output: string, attributes: Attributes = {}): OnnxNode => ({
  ...{ type, domain: '', attributes, inputs: inputs.split(' '), outputs: output.split(' ') },
});

function modelFile(nodes: readonly OnnxNode[], weights: Weights, shape: readonly number[]): string {
  const file = path.join(folder, `model${files++}.onnx`);
  const outputs = [{ name: 'y', dtype: 'float32' as const, shape: [-1, -1, -1, -1] }];
  const inputs = [{ name: 'x', dtype: 'float32' as const, shape }];
  writeFileSync(file, encodeModel({ nodes, inputs, outputs, initializers: initializers(weights) }));
  return file;
}

function assertSame(file: string, input: string, output: string, shape: readonly number[], tolerance = 2e-6): void {
  const data = waves(sizeOf(shape));
  const model = openOnnxModel(file);
  const expected = model.run({ shape, data }, output);
  model.dispose();
  let found: readonly number[] = [];
  const compute = tensorFunction(readGraph(file), input, output);
  const program = capture(
    (x) => {
      const [y] = compute(x);
      found = y.shape;
      return [y];
    },
    [{ shape, dtype: 'float32' }],
  );
  const [actual] = program.run(data) as Float32Array[];
  program.dispose();
  assert.deepEqual(found, [...expected.shape]);
  assertClose(actual, expected.data, tolerance * Math.max(1, largestMagnitude(expected.data)), file);
}

const SCALES = { shape: [4], data: Float32Array.of(1, 1, 2, 2) };

/** Each from x [2, 4, 6, 6] to y of any four axes. */
const CASES: Record<string, [nodes: OnnxNode[], weights?: Weights]> = {
  'a convolution with unlike pads, stride and bias': [
    [node('Conv', 'x w b', 'y', { pads: [1, 0, 2, 1], strides: [2, 2] })],
    { w: { shape: [5, 4, 3, 3] }, b: { shape: [5] } },
  ],
  'convolutions that are dilated, or padded by themselves': [
    [
      node('Conv', 'x w', 'a', { dilations: [2, 2], pads: [2, 2, 2, 2] }),
      node('Conv', 'a v', 'y', { auto_pad: 'SAME_UPPER', strides: [2, 2] }),
    ],
    { w: { shape: [3, 4, 2, 2] }, v: { shape: [2, 3, 4, 4] } },
  ],
  'a convolution of each channel': [
    [node('Conv', 'x w b', 'y', { group: 4, pads: [1, 1, 1, 1], strides: [2, 2] })],
    { w: { shape: [4, 1, 3, 3] }, b: { shape: [4] } },
  ],
  'a convolution in groups': [[node('Conv', 'x w', 'y', { group: 2 })], { w: { shape: [6, 2, 3, 3] } }],
  'batch norm, ReLU6 and hard swish': [
    [
      node('Mul', 'var var', 'positive'),
      node('BatchNormalization', 'x scale bias mean positive', 'n', { epsilon: { float: 1e-3 } }),
      node('Clip', 'n zero six', 'c'),
      node('HardSwish', 'c', 'y'),
    ],
    {
      var: { shape: [4] },
      scale: { shape: [4] },
      bias: { shape: [4] },
      mean: { shape: [4] },
      zero: { shape: [], data: Float32Array.of(0) },
      six: { shape: [], data: Float32Array.of(0.6) },
    },
  ],
  'instance norm, leaky ReLU and PReLU': [
    [
      node('InstanceNormalization', 'x s b', 'n'),
      node('LeakyRelu', 'n', 'l', { alpha: { float: 0.2 } }),
      node('PRelu', 'l slope', 'y'),
    ],
    { s: { shape: [4] }, b: { shape: [4] }, slope: { shape: [4, 1, 1] } },
  ],
  pools: [
    [
      node('MaxPool', 'x', 'a', { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }),
      node('AveragePool', 'x', 'b', { kernel_shape: [2, 2], strides: [2, 2], count_include_pad: 1 }),
      node('GlobalAveragePool', 'x', 'g'),
      node('Add', 'a b', 'ab'),
      node('Sub', 'ab g', 'y'),
    ],
  ],
  'squeeze and excite': [
    [
      node('ReduceMean', 'x axes', 'm', { keepdims: 1 }),
      node('Conv', 'm w', 'h'),
      node('HardSigmoid', 'h', 's'),
      node('Mul', 'x s', 'y'),
    ],
    { axes: [2, 3], w: { shape: [4, 4, 1, 1] } },
  ],
  'pixels to channels and back, enlarged': [
    [
      node('SpaceToDepth', 'x', 'd', { blocksize: 2 }),
      node('DepthToSpace', 'd', 's', { blocksize: 2, mode: 'CRD' }),
      node('DepthToSpace', 'd', 't', { blocksize: 2 }),
      node('Sub', 's t', 'u'),
      node('Resize', 'u  scales', 'y', {
        mode: 'nearest',
        coordinate_transformation_mode: 'asymmetric',
        nearest_mode: 'floor',
      }),
    ],
    { scales: SCALES },
  ],
  // As exporters write it: sizes are computed along with the network.
  'a transformer with a class token': [
    [
      node('Shape', 'x', 'shape'),
      node('Gather', 'shape first', 'n', { axis: 0 }),
      node('Concat', 'n four rest', 'flat', { axis: 0 }),
      node('Reshape', 'x flat', 'planes'),
      node('Transpose', 'planes', 'patches', { perm: [0, 2, 1] }),
      node('Concat', 'n one one', 'many', { axis: 0 }),
      node('Expand', 'class many', 'classes'),
      node('Concat', 'classes patches', 'joined', { axis: 1 }),
      node('Add', 'joined positions', 'tokens'),
      node('LayerNormalization', 'tokens s b', 'normal', { axis: -1 }),
      node('MatMul', 'normal wqkv', 'qkv'),
      node('Split', 'qkv', 'q k v', { axis: -1, num_outputs: 3 }),
      node('Transpose', 'k', 'kt', { perm: [0, 2, 1] }),
      node('MatMul', 'q kt', 'scores'),
      node('Softmax', 'scores', 'p', { axis: -1 }),
      node('MatMul', 'p v', 'mixed'),
      node('Gelu', 'mixed', 'g', { approximate: 'tanh' }),
      node('Erf', 'g', 'e'),
      node('Slice', 'e from to axis', 'tail'),
      node('Unsqueeze', 'tail axis', 'y'),
    ],
    {
      ...{ first: [0], four: [4], rest: [-1], one: [1], from: [1], to: [2 ** 40], axis: [1] },
      ...{ class: { shape: [1, 1, 4] }, positions: { shape: [1, 37, 4] }, s: { shape: [4] }, b: { shape: [4] } },
      wqkv: { shape: [4, 12] },
    },
  ],
  'a head on vectors': [
    [
      node('Flatten', 'x', 'f'),
      node('Gemm', 'f w b', 'h', { transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } }),
      node('ReduceL2', 'h last', 'norm', { keepdims: 1 }),
      node('Div', 'h norm', 'unit'),
      node('Sigmoid', 'unit', 's'),
      node('Reshape', 's shape', 'y'),
    ],
    { w: { shape: [6, 144] }, b: { shape: [6] }, last: [-1], shape: [0, 1, 2, 3] },
  ],
};

describe('an ONNX network is recorded', () => {
  for (const [name, [nodes, weights = {}]] of Object.entries(CASES)) {
    test(name, () => {
      const file = modelFile(nodes, weights, [2, 4, 6, 6]);
      assertSame(file, 'x', 'y', [2, 4, 6, 6]);
    });
  }

  test('one that a product ships', () => {
    const file = fileURLToPath(new URL('../../../src/assets/emoji-cnn.onnx', import.meta.url));
    const model = openOnnxModel(file);
    const [{ name, shape }] = model.inputs;
    const output = model.outputs[0].name;
    model.dispose();
    assertSame(file, name, output, [2, ...shape.slice(1)] as number[], 1e-5);
  });

  test('but for what has no rule, which is named', () => {
    for (const [nodes, weights, message] of [
      [[node('Einsum', 'x', 'y', { equation: 'abcd->abdc' })], {}, /^Einsum$/],
      [[node('Resize', 'x  scales', 'y', { mode: 'cubic' })], { scales: SCALES }, /^Resize of mode cubic/],
      [[node('Pad', 'x pads', 'y', { mode: 'reflect' })], { pads: [0, 0, 1, 1, 0, 0, 1, 1] }, /^Pad of mode reflect/],
      [[{ ...node('Gelu', 'x', 'y'), domain: 'com.microsoft' }], {}, /^com\.microsoft\.Gelu$/],
    ] as [OnnxNode[], Weights, RegExp][]) {
      const file = modelFile(nodes, weights, [1, 4, 6, 6]);
      const record = () =>
        capture(tensorFunction(readGraph(file), 'x', 'y'), [{ shape: [1, 4, 6, 6], dtype: 'float32' }]);
      assert.throws(record, (error) => error instanceof NotLowered && message.test(error.message));
    }
  });

  test('and a file that is none is told of', () => {
    const file = path.join(folder, 'none.onnx');
    writeFileSync(file, 'no protocol buffer');
    assert.throws(() => readGraph(file), DataError);
  });
});
