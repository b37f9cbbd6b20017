import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { DataError } from '../../../src/lib/errors.js';
import { toDiffusersNames } from '../../../src/lib/models/autoencoder-kl.js';
import type { Weights } from '../../../src/lib/models/parameters.js';
import { renamed } from '../../../src/lib/models/rename.js';
import { isUnusedByViT, toHubNames } from '../../../src/lib/models/vit-names.js';
import { sizeOf } from '../../../src/lib/numbers/typed-array.js';
import { fixtureWeights } from '../../fixture-weights.js';
import { fixturePath } from '../../support.js';

/** Hub names into Hugging Face's, the wrong way round: one qkv becomes three. */
function toHuggingFace(weights: Weights): Weights {
  const names: [string, string][] = [
    ['patch_embed.proj', 'embeddings.patch_embeddings.projection'],
    ['pos_embed', 'embeddings.position_embeddings'],
    ['cls_token', 'embeddings.cls_token'],
    ['mask_token', 'embeddings.mask_token'],
    ['blocks.', 'encoder.layer.'],
    ['attn.proj', 'attention.output.dense'],
    ['ls1.gamma', 'layer_scale1.lambda1'],
    ['ls2.gamma', 'layer_scale2.lambda1'],
    ['mlp.w12', 'mlp.weights_in'],
    ['mlp.w3', 'mlp.weights_out'],
  ];
  const result: Weights = new Map();
  for (const [hub, { shape, data }] of weights) {
    const name = names.reduce((current, [from, to]) => current.replace(from, to), hub).replace(/^norm\./, 'layernorm.');
    if (!name.includes('attn.qkv')) {
      result.set(name, { shape, data });
      continue;
    }
    ['query', 'key', 'value'].forEach((part, i) => {
      const third = data.slice((data.length / 3) * i, (data.length / 3) * (i + 1));
      result.set(name.replace('attn.qkv', `attention.attention.${part}`), {
        shape: [shape[0] / 3, ...shape.slice(1)],
        data: third,
      });
    });
  }
  return result;
}

const byName = (weights: Weights) => new Map([...weights].sort(([a], [b]) => (a < b ? -1 : 1)));

describe('vision transformers', () => {
  for (const name of ['dinov2', 'dinov2_swiglu']) {
    test(`${name}: Hugging Face's names, alone or in a larger model`, () => {
      const hub = fixtureWeights(name);
      const theirs = toHuggingFace(hub);
      assert.ok(theirs.has('encoder.layer.0.attention.attention.key.bias'));
      assert.deepEqual(byName(toHubNames(theirs)), byName(hub));
      const larger = new Map([...theirs].map(([each, weight]) => [`dinov2.${each}`, weight]));
      larger.set('classifier.weight', { shape: [1], data: new Float32Array(1) });
      assert.deepEqual(byName(toHubNames(larger)), byName(hub));
    });
  }

  test('hub names stay', () => {
    const hub = fixtureWeights('dinov2');
    assert.deepEqual(toHubNames(hub), hub);
    assert.ok(isUnusedByViT('mask_token') && isUnusedByViT('head.weight') && !isUnusedByViT('blocks.0.norm1.weight'));
  });

  test("timm's names", () => {
    const hub = fixtureWeights('dinov2_swiglu');
    hub.set('register_tokens', { shape: [1, 1, 128], data: new Float32Array(128) });
    const timm = renamed(hub, [
      [/^register_tokens$/, 'reg_token'],
      [/\.w12\./, '.fc1.'],
      [/\.w3\./, '.fc2.'],
    ]);
    assert.deepEqual(toHubNames(timm), hub);
  });

  test("Hugging Face's plain ViT (DINO, MAE)", () => {
    const names = [
      'vit.embeddings.cls_token',
      'vit.embeddings.patch_embeddings.projection.weight',
      'vit.encoder.layer.0.layernorm_before.weight',
      'vit.encoder.layer.0.attention.output.dense.weight',
      'vit.encoder.layer.0.intermediate.dense.weight',
      'vit.encoder.layer.0.output.dense.weight',
      'vit.encoder.layer.0.layernorm_after.bias',
      'vit.layernorm.weight',
      'decoder.mask_token',
    ];
    const weights: Weights = new Map(names.map((name) => [name, { shape: [1], data: new Float32Array(1) }]));
    assert.deepEqual(
      [...toHubNames(weights).keys()],
      [
        'cls_token',
        'patch_embed.proj.weight',
        'blocks.0.norm1.weight',
        'blocks.0.attn.proj.weight',
        'blocks.0.mlp.fc1.weight',
        'blocks.0.mlp.fc2.weight',
        'blocks.0.norm2.bias',
        'norm.weight',
      ],
    );
  });

  test("of MoCo-v3's two copies the trained one is taken", () => {
    const weight = (value: number) => ({ shape: [1], data: Float32Array.of(value) });
    const weights: Weights = new Map([
      ['module.base_encoder.patch_embed.proj.weight', weight(1)],
      ['module.base_encoder.norm.weight', weight(2)],
      ['module.momentum_encoder.patch_embed.proj.weight', weight(3)],
      ['module.predictor.0.weight', weight(4)],
    ]);
    assert.deepEqual(
      [...toHubNames(weights)],
      [
        ['patch_embed.proj.weight', weight(1)],
        ['norm.weight', weight(2)],
      ],
    );
  });

  test("four names of MoCo-v3's published ViT-L are put right", () => {
    const names = [
      'blocks.13.norm13.weight',
      'blocks.13.mlp.fc13.bias',
      'blocks.14.norm14.bias',
      'blocks.14.mlp.fc14.weight',
    ];
    const weights: Weights = new Map(names.map((name) => [name, { shape: [1], data: new Float32Array(1) }]));
    assert.deepEqual(
      [...toHubNames(weights).keys()],
      ['blocks.13.norm1.weight', 'blocks.13.mlp.fc1.bias', 'blocks.14.norm2.bias', 'blocks.14.mlp.fc2.weight'],
    );
  });

  test("of CLIP's two towers the images' is taken", () => {
    const weight = (...shape: number[]) => ({ shape, data: new Float32Array(sizeOf(shape)) });
    const openai: Weights = new Map([
      ['positional_embedding', weight(77, 2)],
      ['visual.class_embedding', weight(2)],
      ['visual.positional_embedding', weight(5, 2)],
      ['visual.proj', weight(2, 3)],
      ['visual.conv1.weight', weight(2, 3, 1, 1)],
      ['visual.transformer.resblocks.0.attn.in_proj_weight', weight(6, 2)],
      ['transformer.resblocks.0.attn.in_proj_weight', weight(6, 2)],
    ]);
    const shapes = [...toHubNames(openai)].map(([name, { shape }]) => `${name} ${shape}`);
    assert.deepEqual(shapes, [
      'cls_token 1,1,2',
      'pos_embed 1,5,2',
      'proj 2,3',
      'patch_embed.proj.weight 2,3,1,1',
      'blocks.0.attn.qkv.weight 6,2',
    ]);
    const theirs: Weights = new Map([
      ['text_model.encoder.layers.0.self_attn.q_proj.bias', weight(2)],
      ['vision_model.embeddings.position_ids', weight(1, 5)],
      ['vision_model.embeddings.patch_embedding.weight', weight(2, 3, 1, 1)],
      ['vision_model.pre_layrnorm.weight', weight(2)],
    ]);
    const names = [...toHubNames(theirs).keys()];
    assert.deepEqual(names, ['embeddings.position_ids', 'patch_embed.proj.weight', 'norm_pre.weight']);
    assert.ok(isUnusedByViT(names[0]) && !isUnusedByViT(names[2]) && isUnusedByViT('proj'));
  });

  test('an incomplete attention and colliding names are refused', () => {
    const theirs = toHuggingFace(fixtureWeights('dinov2_swiglu'));
    theirs.delete('encoder.layer.0.attention.attention.value.bias');
    assert.throws(
      () => toHubNames(theirs),
      (error: DataError) => /value\.bias is missing/.test(error.message),
    );
    const both: Weights = new Map(
      ['reg_token', 'register_tokens'].map((n) => [n, { shape: [1], data: new Float32Array(1) }]),
    );
    assert.throws(() => toHubNames(both), DataError);
  });
});

describe('the autoencoder of latent diffusion', () => {
  type Names = Record<string, { diffusers_old: string; compvis: string; compvis_shape: number[] }>;
  const keymap: Names = JSON.parse(readFileSync(fixturePath('vae/keymap.json'), 'utf8'));
  const weights = fixtureWeights('vae');

  test('the older names of diffusers', () => {
    const older = new Map([...weights].map(([name, weight]) => [keymap[name].diffusers_old, weight]));
    assert.ok(older.has('decoder.mid_block.attentions.0.proj_attn.bias'));
    assert.deepEqual(byName(toDiffusersNames(older)), byName(weights));
  });

  test("CompVis' names, inside a whole diffusion model", () => {
    const theirs: Weights = new Map([['model.diffusion_model.out.0.bias', { shape: [1], data: new Float32Array(1) }]]);
    for (const [name, { data }] of weights) {
      theirs.set(`first_stage_model.${keymap[name].compvis}`, { shape: keymap[name].compvis_shape, data });
    }
    assert.deepEqual(byName(toDiffusersNames(theirs)), byName(weights));
  });

  test("today's names stay", () => assert.deepEqual(toDiffusersNames(weights), weights));
});
