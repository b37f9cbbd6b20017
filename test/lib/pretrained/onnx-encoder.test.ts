import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { encodeModel, type OnnxGraph, type OnnxNode } from '../../../src/lib/engine/onnx/model.js';
import { DataError, MissingInputError, UsageError } from '../../../src/lib/errors.js';
import { CLIP, IMAGENET, normaliseImage } from '../../../src/lib/images/normalise.js';
import type { RgbImage } from '../../../src/lib/images/rgb-image.js';
import { openEncoder } from '../../../src/lib/pretrained/encoder.js';
import { openFeatureNetwork } from '../../../src/lib/pretrained/feature-network.js';
import { temporaryFolder } from '../../support.js';
import { assertClose } from '../../tensors.js';

before(() => selectBackend({ backend: 'onnx', threads: 1 }));
const folder = temporaryFolder();

/** A size that the model leaves open. */
const OPEN = -1;

const node = (
  type: string,
  inputs: string[],
  outputs: string[],
  attributes: OnnxNode['attributes'] = {},
): OnnxNode => ({ type, domain: '', attributes, inputs, outputs });

const integers = (name: string, values: number[]) => ({
  name,
  dtype: 'int64' as const,
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

/** Means of 4 x 4 patches, one channel each of red, green and blue: [N, 3, h, w]. */
const PATCHES = node('AveragePool', ['x'], ['map'], { kernel_shape: [4, 4], strides: [4, 4] });

/** The map as a sequence [N, prefix + h w, 3] that starts with `prefix` copies of the mean of all patches. */
const sequence = (prefix: number): Pick<OnnxGraph, 'nodes' | 'initializers'> => ({
  nodes: [
    PATCHES,
    node('Reshape', ['map', 'flat'], ['planes']),
    node('Transpose', ['planes'], ['patches'], { perm: [0, 2, 1] }),
    node('ReduceMean', ['patches', 'axis'], ['mean'], { keepdims: 1 }),
    node('Concat', [...Array(prefix).fill('mean'), 'patches'], ['tokens'], { axis: 1 }),
  ],
  initializers: [integers('flat', [0, 3, -1]), integers('axis', [1])],
});

let files = 0;

function modelFile(
  graph: Partial<OnnxGraph> & Pick<OnnxGraph, 'nodes'>,
  input: number[],
  outputs: Record<string, number[]>,
): string {
  const file = path.join(folder, `model${files++}.onnx`);
  const model = encodeModel({
    inputs: [{ name: 'x', dtype: 'float32', shape: input }],
    outputs: Object.entries(outputs).map(([name, shape]) => ({ name, dtype: 'float32', shape })),
    initializers: [],
    ...graph,
  });
  writeFileSync(file, model);
  return file;
}

/** Pictures of random bytes. */
function pictures(count: number, side: number): RgbImage[] {
  let state = 1;
  const byte = () => {
    state = (state * 48271) % 2147483647;
    return state % 256;
  };
  return Array.from({ length: count }, () => {
    return { width: side, height: side, data: Uint8Array.from({ length: 3 * side * side }, byte) };
  });
}

/** What the models above compute: the means of the patches as tokens [T, 3], of normalised planes [3, S, S]. */
function patchMeans(planes: Float32Array, side: number): number[] {
  const grid = side / 4;
  const means: number[] = [];
  for (let token = 0; token < grid * grid; token++) {
    for (let channel = 0; channel < 3; channel++) {
      let sum = 0;
      for (let i = 0; i < 16; i++) {
        const y = Math.floor(token / grid) * 4 + Math.floor(i / 4);
        const x = (token % grid) * 4 + (i % 4);
        sum += planes[(channel * side + y) * side + x];
      }
      means.push(sum / 16);
    }
  }
  return means;
}

const expectedTokens = (crops: RgbImage[], side: number): number[] =>
  crops.flatMap((crop) => patchMeans(normaliseImage(crop, IMAGENET), side));

const open = (encoder: string, more: object = {}) => openEncoder({ encoder, posEmbed: 'timm', batchSize: 2, ...more });

test("a map of channels becomes tokens, row by row of the grid; size and batch are the model's own", async () => {
  const encoder = await open(modelFile({ nodes: [PATCHES] }, [1, 3, 12, 12], { map: [1, 3, 3, 3] }));
  assert.deepEqual([encoder.size, encoder.tokens, encoder.dim, encoder.hasCls], [12, 9, 3, false]);
  const crops = pictures(3, 12);
  const { feature, cls } = encoder.encode(crops);
  assertClose(feature, expectedTokens(crops, 12), 1e-6, 'tokens');
  assert.equal(cls, undefined);
  encoder.dispose();
});

test('sizes that the model leaves open are --size, or 224', async () => {
  const file = modelFile({ nodes: [PATCHES] }, [OPEN, 3, OPEN, OPEN], { map: [OPEN, 3, OPEN, OPEN] });
  const encoder = await open(file, { size: 8 });
  const crops = pictures(5, 8); // more than a batch
  assertClose(encoder.encode(crops).feature, expectedTokens(crops, 8), 1e-6, 'tokens');
  assert.equal((await open(file)).size, 224);
});

test('images with channels last, and maps of the same layout', async () => {
  const nodes = [
    node('Transpose', ['x'], ['planes'], { perm: [0, 3, 1, 2] }),
    { ...PATCHES, inputs: ['planes'] },
    node('Transpose', ['map'], ['last'], { perm: [0, 2, 3, 1] }),
  ];
  const encoder = await open(modelFile({ nodes }, [OPEN, 8, 8, 3], { last: [OPEN, 2, 2, 3] }));
  const crops = pictures(2, 8);
  assertClose(encoder.encode(crops).feature, expectedTokens(crops, 8), 1e-6, 'tokens');
});

test('a sequence loses the class token and registers before its grid; without them it is taken whole', async () => {
  for (const [prefix, side] of [
    [0, 8],
    [1, 8],
    [1, 12],
    [5, 12],
  ]) {
    const tokens = prefix + (side / 4) ** 2;
    const file = modelFile(sequence(prefix), [OPEN, 3, side, side], { tokens: [OPEN, tokens, 3] });
    const encoder = await open(file);
    const crops = pictures(2, side);
    const { feature, cls } = encoder.encode(crops);
    const expected = expectedTokens(crops, side);
    assertClose(feature, expected, 1e-6, `${prefix} before ${side}`);
    assert.equal(encoder.hasCls, prefix > 0);
    if (prefix === 0) continue;
    const mean = (crop: number, channel: number) => {
      const values = expected.slice((crop * expected.length) / 2, ((crop + 1) * expected.length) / 2);
      return values.filter((_, i) => i % 3 === channel).reduce((a, b) => a + b) / (values.length / 3);
    };
    assertClose(
      cls!,
      [0, 1].flatMap((crop) => [0, 1, 2].map((channel) => mean(crop, channel))),
      1e-5,
      'class token',
    );
  }
});

test('values are normalised as asked: ImageNet by default, CLIP, [-1, 1] or [0, 1]', async () => {
  const file = modelFile({ nodes: [PATCHES] }, [1, 3, 4, 4], { map: [1, 3, 1, 1] });
  const [crop] = pictures(1, 4);
  const mean = (channel: number) => crop.data.filter((_, i) => i % 3 === channel).reduce((a, b) => a + b) / 16 / 255;
  const means = [0, 1, 2].map(mean);
  const standard = ({ mean, std }: typeof CLIP) => means.map((value, i) => (value - mean[i]) / std[i]);
  const cases = {
    imagenet: standard(IMAGENET),
    clip: standard(CLIP),
    signed: means.map((value) => 2 * value - 1),
    unit: means,
  };
  for (const [normalise, expected] of Object.entries(cases)) {
    const encoder = await open(file, { normalise });
    assertClose(encoder.encode([crop]).feature, expected, 1e-6, normalise);
    assert.equal(encoder.preprocess.normalise, normalise);
  }
});

test('models of half precision are fed and read as such', async () => {
  const nodes = [node('Cast', ['x'], ['half'], { to: 10 }), { ...PATCHES, inputs: ['half'], outputs: ['map'] }];
  const graph = encodeModel({
    nodes,
    inputs: [{ name: 'x', dtype: 'float32', shape: [1, 3, 8, 8] }],
    outputs: [{ name: 'map', dtype: 'float32', shape: [1, 3, 2, 2] }],
    initializers: [],
  });
  // The writer declares f32 only: the output's name is followed by its type, whose fifth byte is elem_type; 10 is f16.
  const name = Buffer.from([0x0a, 3, ...Buffer.from('map'), 0x12]);
  graph[Buffer.from(graph).lastIndexOf(name) + name.length + 4] = 10;
  const file = path.join(folder, 'half.onnx');
  writeFileSync(file, graph);
  const crops = pictures(1, 8);
  assertClose((await open(file)).encode(crops).feature, expectedTokens(crops, 8), 4e-3, 'tokens');
});

test('an output is named, else a map goes before a sequence and that before a vector', async () => {
  const { nodes, initializers } = sequence(1);
  const graph = { nodes: [...nodes, node('Squeeze', ['mean', 'axis'], ['vector'])], initializers };
  const outputs = { vector: [OPEN, 3], tokens: [OPEN, 5, 3], map: [OPEN, 3, 2, 2] };
  const file = modelFile(graph, [OPEN, 3, 8, 8], outputs);
  assert.equal((await open(file)).preprocess.output, 'map');
  assert.equal((await open(file, { output: 'tokens' })).hasCls, true);
  assert.equal((await open(file, { output: 'vector' })).tokens, 1);
  await assert.rejects(open(file, { output: 'none' }), (error: UsageError) => {
    assert.match(`${error.message} ${error.hint}`, /'none'.*vector, tokens, map/);
    return error instanceof UsageError;
  });
});

test('the name and the hash are those of the file', async () => {
  const file = modelFile({ nodes: [PATCHES] }, [1, 3, 4, 4], { map: [1, 3, 1, 1] });
  const { name, sha256 } = await open(file);
  assert.equal(name, path.basename(file));
  assert.equal(sha256, createHash('sha256').update(readFileSync(file)).digest('hex'));
});

test('what is no encoder is refused: other inputs, no grid, another size, no ONNX, no file', async () => {
  const { nodes, initializers } = sequence(2);
  const noGrid = modelFile({ nodes, initializers }, [OPEN, 3, 12, 12], { tokens: [OPEN, 11, 3] });
  await assert.rejects(open(noGrid), /'tokens' is \[2, 11, 3\]: neither/);
  const oblong = modelFile({ nodes: [PATCHES] }, [1, 3, 8, 12], { map: [1, 3, 2, 3] });
  await assert.rejects(open(oblong), /takes x \[1, 3, 8, 12\], not one batch of square RGB images/);
  const grey = modelFile({ nodes: [PATCHES] }, [1, 1, 8, 8], { map: [1, 1, 2, 2] });
  await assert.rejects(open(grey), DataError);
  const fixed = modelFile({ nodes: [PATCHES] }, [1, 3, 8, 8], { map: [1, 3, 2, 2] });
  await assert.rejects(open(fixed, { size: 12 }), UsageError);
  await assert.rejects(open(fixed, { weights: 'x.pth' }), UsageError);
  const damaged = path.join(folder, 'damaged.onnx');
  writeFileSync(damaged, readFileSync(fixed).subarray(0, 60));
  await assert.rejects(open(damaged), DataError);
  await assert.rejects(open(path.join(folder, 'absent.onnx')), MissingInputError);
  await assert.rejects(open('emoji-vit', { output: 'map' }), UsageError);
});

test('an operation that there is not, and shapes that do not fit, are named with the file', async () => {
  const unknown = modelFile({ nodes: [node('FlashyNorm', ['x'], ['map'])] }, [1, 3, 8, 8], { map: [1, 3, 8, 8] });
  await assert.rejects(open(unknown), (error: DataError) => {
    assert.match(error.message, /model\d+\.onnx: not an ONNX model that can be run here: .*FlashyNorm/s);
    return error instanceof DataError;
  });
  const nodes = [node('MatMul', ['x', 'weight'], ['map'])];
  const weight = { name: 'weight', dtype: 'float32' as const, shape: [5, 8], data: new Float32Array(40) };
  const misfit = modelFile({ nodes, initializers: [weight] }, [OPEN, 3, OPEN, OPEN], { map: [OPEN, 3, OPEN, 8] });
  await assert.rejects(open(misfit, { size: 8 }), (error: DataError) => {
    assert.match(error.message, /cannot be run on an input of \[\d+,3,8,8\]: .*MatMul/s);
    return error instanceof DataError;
  });
});

test('sets of images are compared in its class token, or the mean of its tokens', async () => {
  const crops = pictures(2, 8);
  const options = { resize: 'adm', batchSize: 2 } as const;
  const mapped = await openFeatureNetwork({
    net: modelFile({ nodes: [PATCHES] }, [OPEN, 3, 8, 8], { map: [OPEN, 3, 2, 2] }),
    ...options,
  });
  const tokens = await openFeatureNetwork({
    net: modelFile(sequence(1), [OPEN, 3, 8, 8], { tokens: [OPEN, 5, 3] }),
    ...options,
  });
  assert.equal(mapped.isPublished, false);
  assertClose(mapped.features(crops).pooled, tokens.features(crops).pooled, 1e-6, 'pooled');
});
