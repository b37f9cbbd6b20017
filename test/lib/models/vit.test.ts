import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { capture, selectBackend, tf } from '../../../src/lib/engine/index.js';
import { DataError, UsageError } from '../../../src/lib/errors.js';
import { resamplePlanes } from '../../../src/lib/images/resample.js';
import { matchWeights, toParameters, type Weights } from '../../../src/lib/models/parameters.js';
import { fitPositions, inferViTConfig, type ViTConfig, vit, vitShapes } from '../../../src/lib/models/vit.js';
import { isUnusedByViT, toHubNames } from '../../../src/lib/models/vit-names.js';
import type { PositionResampling } from '../../../src/lib/nn/positions.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { assertClose, fixtureTensors, largestError, largestMagnitude } from '../../tensors.js';

before(() => selectBackend());

const square = (side: number) => ({ height: side, width: side });

/** The fixture's 256-pixel picture as REPA gives it to DINOv2: normalised, then bicubic to 224. */
function picture(io: Weights): Float32Array {
  const mean = [0.485, 0.456, 0.406];
  const std = [0.229, 0.224, 0.225];
  const { data } = io.get('image_u8')!; // [1, 3, 256, 256]
  const channel = (i: number) => Math.floor(i / 256 ** 2);
  const normalised = data.map((value, i) => (value / 255 - mean[channel(i)]) / std[channel(i)]);
  return resamplePlanes(normalised, square(256), square(224), 'bicubic');
}

function run(weights: Weights, config: ViTConfig, image: Float32Array, side: number, variant: PositionResampling) {
  const fitted = fitPositions(weights, config, square(side), variant);
  const p = toParameters(matchWeights(fitted.weights, vitShapes(fitted.config), 'fixture', isUnusedByViT));
  const { patchTokens, cls } = vit(p, fitted.config, tf.tensor(image, [1, 3, side, side]));
  return { patchTokens: patchTokens.dataSync(), cls: cls!.dataSync() };
}

describe('DINOv2', () => {
  const weights = fixtureWeights('dinov2');
  const io = fixtureTensors('dinov2/io');
  const image = picture(io);
  const config = inferViTConfig(weights, 'dinov2');

  test('the architecture is inferred', () => {
    assert.deepEqual(config, {
      width: 128,
      depth: 3,
      heads: 2,
      patchSize: 14,
      grid: { height: 37, width: 37 },
      classToken: true,
      classPosition: true,
      registers: 0,
      feedForward: 'mlp',
      inner: 512,
      qkvBias: true,
      layerScale: true,
      finalNorm: true,
      patchBias: true,
      preNorm: false,
      activation: 'erf',
      epsilon: 1e-6,
    });
  });

  for (const [name, variant] of [
    ['repa', 'timm'],
    ['own', 'dinov2'],
  ] as const) {
    test(`features at 224 pixels, positions as ${variant} resamples them`, () => {
      const { patchTokens, cls } = run(weights, config, image, 224, variant);
      const expected = io.get(`${name}.x_norm_patchtokens`)!.data;
      const expectedCls = io.get(`${name}.x_norm_clstoken`)!.data;
      assertClose(patchTokens, expected, 3e-5 * largestMagnitude(expected), 'patch tokens');
      assertClose(cls, expectedCls, 3e-5 * largestMagnitude(expectedCls), 'class token');
    });
  }

  test('features at 448 pixels', () => {
    const large = resamplePlanes(image, square(224), square(448), 'bicubic');
    const { patchTokens, cls } = run(weights, config, large, 448, 'timm');
    const expected = io.get('repa448.x_norm_patchtokens')!.data; // the first 64
    const expectedCls = io.get('repa448.x_norm_clstoken')!.data;
    assertClose(patchTokens.subarray(0, expected.length), expected, 3e-5 * largestMagnitude(expected), 'patch tokens');
    assertClose(cls, expectedCls, 3e-5 * largestMagnitude(expectedCls), 'class token');
  });

  test('SwiGLU', () => {
    const gated = fixtureWeights('dinov2_swiglu'); // its positions are on the grid of 224 pixels already
    const gatedIo = fixtureTensors('dinov2_swiglu/io');
    const gatedConfig = inferViTConfig(gated, 'dinov2_swiglu');
    assert.equal(gatedConfig.feedForward, 'swiglu');
    assert.equal(gatedConfig.inner, 344);
    const { patchTokens, cls } = run(gated, gatedConfig, picture(gatedIo), 224, 'timm');
    const expected = gatedIo.get('repa.x_norm_patchtokens')!.data;
    const expectedCls = gatedIo.get('repa.x_norm_clstoken')!.data;
    assertClose(patchTokens, expected, 3e-5 * largestMagnitude(expected), 'patch tokens');
    assertClose(cls, expectedCls, 3e-5 * largestMagnitude(expectedCls), 'class token');
  });
});

describe('DINOv3', () => {
  const fixture = fixtureTensors('published/dinov3');
  const own = new Map(
    [...fixture].flatMap(([name, tensor]) => (name.startsWith('weights.') ? [[name.slice(8), tensor]] : [])),
  );
  const weights = toHubNames(own as Weights);
  const config = inferViTConfig(weights, 'dinov3', { heads: 4, epsilon: 1e-5 });

  test('positions turn queries and keys, on any grid', () => {
    assert.deepEqual([config.rotary, config.registers, config.layerScale, config.qkvBias], [true, 4, true, true]);
    for (const [image, side, wanted] of [
      ['image', 64, 'patch'],
      ['big', 96, 'big_patch'],
    ] as const) {
      const fitted = fitPositions(weights, config, square(side), 'timm');
      const p = toParameters(matchWeights(fitted.weights, vitShapes(fitted.config), 'dinov3', isUnusedByViT));
      const { shape, data } = fixture.get(image)!;
      const { patchTokens, cls } = vit(p, fitted.config, tf.tensor(Float32Array.from(data), [...shape] as [number]));
      const expected = fixture.get(wanted)!.data;
      assertClose(patchTokens.dataSync(), expected, 2e-5 * largestMagnitude(expected), wanted);
      const expectedCls = image === 'image' ? fixture.get('cls')!.data : undefined;
      if (expectedCls) assertClose(cls!.dataSync(), expectedCls, 2e-5 * largestMagnitude(expectedCls), 'class token');
    }
  });

  /** The weights under other names: queries, keys and values apart, nothing for keys; or as timm has them. */
  const elsewhere = (naming: 'huggingface' | 'timm'): Weights =>
    new Map(
      [...own].flatMap(([name, weight]): [string, Weights extends Map<string, infer W> ? W : never][] => {
        if (/mask|periods/.test(name)) return [];
        const [, block, kind] = /^(blocks\.\d+\.attn)\.qkv\.(weight|bias)$/.exec(name) ?? [];
        const third = (i: number) => ({
          shape: [weight.shape[0] / 3, ...weight.shape.slice(1)],
          data: Float32Array.from(weight.data.slice((i * weight.data.length) / 3, ((i + 1) * weight.data.length) / 3)),
        });
        if (naming === 'timm') {
          if (kind === 'bias')
            return [
              [`${block}.q_bias`, third(0)],
              [`${block}.v_bias`, third(2)],
            ];
          return [[name.replace('storage_tokens', 'reg_token').replace(/ls([12])\.gamma/, 'gamma_$1'), weight]];
        }
        const layer = (each: string) =>
          each
            .replace(/^blocks\.(\d+)\.attn\./, 'model.layer.$1.attention.')
            .replace(/^blocks\./, 'model.layer.')
            .replace('attention.proj', 'attention.o_proj')
            .replace(/ls([12])\.gamma/, 'layer_scale$1.lambda1')
            .replace('mlp.fc1', 'mlp.up_proj')
            .replace('mlp.fc2', 'mlp.down_proj');
        if (kind) {
          const parts = ['q', 'k', 'v'].map((part, i) => [layer(`${block}.${part}_proj.${kind}`), third(i)] as const);
          return parts.filter((_, i) => kind === 'weight' || i !== 1).map(([each, part]) => [each, part]);
        }
        const embedding = name
          .replace(/^cls_token/, 'embeddings.cls_token')
          .replace('storage_tokens', 'embeddings.register_tokens')
          .replace('patch_embed.proj', 'embeddings.patch_embeddings');
        return [[layer(embedding), weight]];
      }),
    );

  for (const naming of ['huggingface', 'timm'] as const) {
    test(`names of ${naming}`, () => {
      const theirs = toHubNames(elsewhere(naming));
      for (const [name, { shape, data }] of weights) {
        if (/periods|bias_mask/.test(name)) continue; // of heads of 64, which those of the fixture are not
        assert.deepEqual(theirs.get(name)?.shape, shape, name);
        assert.deepEqual([...theirs.get(name)!.data], [...data], name);
      }
      assert.deepEqual(theirs.get('rope_embed.periods')?.shape, [16]);
    });
  }

  test('gated feed-forwards of either house', () => {
    const gated = (names: readonly string[]): Weights =>
      new Map(names.map((name, i) => [`blocks.0.mlp.${name}.bias`, { shape: [2], data: Float32Array.of(i, i) }]));
    for (const names of [
      ['w1', 'w2', 'w3'],
      ['gate_proj', 'up_proj', 'down_proj'],
      ['fc1_g', 'fc1_x', 'fc2'],
    ]) {
      const joined = toHubNames(gated(names));
      assert.deepEqual([...joined.keys()], ['blocks.0.mlp.w12.bias', 'blocks.0.mlp.w3.bias']);
      assert.deepEqual([...joined.get('blocks.0.mlp.w12.bias')!.data], [0, 0, 1, 1]);
    }
  });
});

/** Small random weights of an architecture. */
function randomWeights(config: ViTConfig): Weights {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32 - 0.5;
  };
  return new Map(
    [...vitShapes(config)].map(([name, { shape }]) => [
      name,
      { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => random() / 2) },
    ]),
  );
}

describe('kin of DINOv2', () => {
  const base: ViTConfig = {
    width: 64,
    depth: 2,
    heads: 1,
    patchSize: 4,
    grid: { height: 3, width: 3 },
    classToken: true,
    classPosition: true,
    registers: 0,
    feedForward: 'mlp',
    inner: 128,
    qkvBias: true,
    layerScale: false,
    finalNorm: true,
    patchBias: true,
    preNorm: false,
    activation: 'erf',
    epsilon: 1e-6,
  };
  const images = randomWeights({ ...base, patchSize: 12, width: 2 }).get('patch_embed.proj.weight')!.data; // [2, 3, 12, 12]
  const features = (weights: Weights, config: ViTConfig) => {
    const p = toParameters(weights);
    const program = capture(
      (x) => {
        const { patchTokens, cls } = vit(p, config, x);
        return cls ? [patchTokens, cls] : [patchTokens];
      },
      [{ shape: [2, 3, 12, 12], dtype: 'float32' }],
      { constants: 'bake' },
    );
    return program.run(images);
  };

  for (const [name, config] of [
    ['no class token (I-JEPA)', { ...base, classToken: false, classPosition: false }],
    ['registers', { ...base, registers: 4, layerScale: true }],
    ['a class token without position (timm)', { ...base, classPosition: false, registers: 4 }],
    ['no final norm (MAE)', { ...base, finalNorm: false, qkvBias: false }],
  ] as const) {
    test(name, () => {
      const weights = randomWeights(config);
      assert.deepEqual(inferViTConfig(weights, 'test', { heads: 1 }), config);
      const [patchTokens, cls] = features(weights, config);
      assert.equal(patchTokens.length, 2 * 9 * 64);
      assert.equal(cls?.length, config.classToken ? 2 * 64 : undefined);
    });
  }

  test('a final norm that is there can be left out', () => {
    const weights = randomWeights(base);
    const config = inferViTConfig(weights, 'mae', { heads: 1, finalNorm: false });
    assert.deepEqual(config, { ...base, finalNorm: false });
    const matched = matchWeights(weights, vitShapes(config), 'mae', isUnusedByViT);
    assert.notDeepEqual(features(matched, config)[0], features(weights, base)[0]);
  });

  test('registers take part in attention but have no position and no row in the output', () => {
    const config = { ...base, registers: 4 };
    const weights = randomWeights(config);
    const [patchTokens] = features(weights, config);
    const { data } = weights.get('register_tokens')!;
    const reversed = [3, 2, 1, 0].flatMap((row) => [...data.subarray(row * 64, row * 64 + 64)]);
    weights.set('register_tokens', { shape: [1, 4, 64], data: Float32Array.from(reversed) });
    assertClose(features(weights, config)[0] as Float32Array, patchTokens as Float32Array, 1e-5, 'another order');
    weights.set('register_tokens', { shape: [1, 4, 64], data: data.map((v) => -v) });
    assert.ok(largestError(features(weights, config)[0] as Float32Array, patchTokens as Float32Array) > 1e-3);
  });

  test('positions of an oblong picture', () => {
    const weights = randomWeights(base);
    const { weights: fitted, config } = fitPositions(weights, base, { height: 8, width: 20 }, 'timm');
    assert.deepEqual(config.grid, { height: 2, width: 5 });
    assert.deepEqual(fitted.get('pos_embed')!.shape, [1, 11, 64]);
    assert.deepEqual(fitted.get('pos_embed')!.data.subarray(0, 64), weights.get('pos_embed')!.data.subarray(0, 64));
    assert.throws(() => fitPositions(weights, base, { height: 8, width: 21 }, 'timm'), UsageError);
  });

  test('heads are those of published models of the width, unless given', () => {
    const heads = (width: number, given?: number) => {
      const shapes = vitShapes({ ...base, width, heads: 1, inner: 4 * width });
      return inferViTConfig(shapes, 'test', { heads: given }).heads;
    };
    const widths = [384, 768, 1024, 1152, 1280, 1408, 1536, 1664];
    assert.deepEqual(
      widths.map((width) => heads(width)),
      [6, 12, 16, 16, 16, 16, 24, 16],
    );
    assert.equal(heads(384, 12), 12); // MoCo-v3
  });

  test('other weights are refused', () => {
    assert.throws(() => inferViTConfig(new Map(), 'resnet.pth'), DataError);
    const weights = randomWeights(base);
    assert.throws(() => inferViTConfig(weights, 'vit.pth', { heads: 7 }), UsageError);
    weights.set('pos_embed', { shape: [1, 12, 64], data: new Float32Array(12 * 64) });
    assert.throws(() => inferViTConfig(weights, 'vit.pth'), DataError);
  });
});
