/** The text tower of CLIP and its tokenizer, against transformers' on a small vocabulary and random weights. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, test } from 'node:test';
import { selectBackend } from '../../../src/lib/engine/index.js';
import { DataError, MissingInputError, UsageError } from '../../../src/lib/errors.js';
import type { Weights } from '../../../src/lib/models/parameters.js';
import { ClipTokenizer } from '../../../src/lib/pretrained/clip-tokenizer.js';
import { openTextEncoder } from '../../../src/lib/pretrained/text-encoder.js';
import { fixtureWeights, fixtureWeightsFile, writeWeights } from '../../fixture-weights.js';
import { fixturePath, temporaryFolder } from '../../support.js';
import { assertClose, fixtureTensors, largestMagnitude } from '../../tensors.js';

const tokenizer = fixturePath('text');
const captions: { caption: string; ids: number[] }[] = JSON.parse(
  readFileSync(fixturePath('text/captions.json'), 'utf8'),
);
/** The tokens of each text whose vectors are kept. */
const KEPT = [0, 1, 5, 30, 76];

before(() => selectBackend());

describe('tokens', () => {
  test('are those of transformers', () => {
    const clip = new ClipTokenizer(tokenizer);
    for (const { caption, ids } of captions) assert.deepEqual([...clip.encode(caption, ids.length)], ids, caption);
  });

  test('of a word of any length are its first ones', () => {
    const clip = new ClipTokenizer(tokenizer);
    const word = 'ab'.repeat(400);
    assert.deepEqual(clip.encode(`${word}${'ab'.repeat(200_000)}`, 12), clip.encode(word, 12));
  });

  test('need a vocabulary that is one', () => {
    const folder = temporaryFolder();
    assert.throws(() => new ClipTokenizer(folder), MissingInputError);
    writeFileSync(path.join(folder, 'vocab.json'), '[1]');
    writeFileSync(path.join(folder, 'merges.txt'), 'a b\n');
    assert.throws(() => new ClipTokenizer(folder), DataError);
    writeFileSync(path.join(folder, 'vocab.json'), '{"<|startoftext|>":0,"<|endoftext|>":1}');
    const beside = new ClipTokenizer(folder);
    assert.notEqual(beside.sha256, new ClipTokenizer(tokenizer).sha256);
    for (const number of ['-1', '2', '0.5', '"1"']) {
      writeFileSync(path.join(folder, 'vocab.json'), `{"<|startoftext|>":0,"<|endoftext|>":${number}}`);
      assert.throws(() => new ClipTokenizer(folder), /not those of CLIP/);
    }
    assert.throws(() => beside.encode('x', 8), /vocab\.json lacks 'x<\/w>'/);
  });
});

async function vectors(options: { encoder: string; weights: string; batchSize?: number }) {
  const encoder = await openTextEncoder({ batchSize: 4, tokenizer, ...options });
  const texts = captions.slice(0, 6).map(({ caption }) => caption);
  const { tokens, dim } = encoder;
  const all = [texts.slice(0, 4), texts.slice(4)].flatMap((batch) => [...encoder.encode(batch)]);
  encoder.dispose();
  return texts.flatMap((_, row) =>
    KEPT.flatMap((token) => all.slice((row * tokens + token) * dim, (row * tokens + token + 1) * dim)),
  );
}

describe('vectors', () => {
  for (const [encoder, name] of [
    ['clip-vit-l', 'quick'],
    ['openclip-vit-l', 'erf'],
  ] as const) {
    test(`of ${encoder} are those of transformers`, async () => {
      const { data } = fixtureTensors('text/expected').get(name)!;
      const actual = await vectors({ encoder, weights: fixtureWeightsFile('text') });
      assertClose(actual, data, 1e-5 * largestMagnitude(data), name);
    });
  }

  test('are the same from a file in the names of OpenAI', async () => {
    const file = path.join(temporaryFolder(), 'clip.safetensors');
    writeWeights(file, inNamesOfOpenAI(fixtureWeights('text')));
    const { data } = fixtureTensors('text/expected').get('quick')!;
    assertClose(await vectors({ encoder: 'clip-vit-l', weights: file }), data, 1e-5 * largestMagnitude(data), 'quick');
  });

  test('of what is no text tower are refused', async () => {
    const weights = fixtureWeightsFile('text');
    await assert.rejects(openTextEncoder({ encoder: 'clip-vit-x', weights, tokenizer, batchSize: 1 }), UsageError);
    const file = path.join(temporaryFolder(), 'vit.safetensors');
    writeWeights(file, new Map([['blocks.0.x', { shape: [1], data: new Float32Array(1) }]]));
    await assert.rejects(
      openTextEncoder({ encoder: 'clip-vit-l', weights: file, tokenizer, batchSize: 1 }),
      /not the weights of a CLIP text tower/,
    );
  });
});

/** The three projections of each layer in one tensor, as OpenAI's code keeps them. */
function inNamesOfOpenAI(weights: Weights): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const openAi = name
      .replace('text_model.', '')
      .replace('embeddings.token_embedding.weight', 'token_embedding.weight')
      .replace('embeddings.position_embedding.weight', 'positional_embedding')
      .replace('encoder.layers.', 'transformer.resblocks.')
      .replace(/\.layer_norm(\d)\./, '.ln_$1.')
      .replace('final_layer_norm', 'ln_final')
      .replace('self_attn.out_proj', 'attn.out_proj')
      .replace('mlp.fc1', 'mlp.c_fc')
      .replace('mlp.fc2', 'mlp.c_proj');
    const [, layer, part, kind] = /^(.*)\.self_attn\.([qkv])_proj\.(\w+)$/.exec(openAi) ?? [];
    if (layer === undefined) {
      result.set(openAi, weight);
      continue;
    }
    const joined = result.get(`${layer}.attn.in_proj_${kind}`) ?? {
      shape: [3 * weight.shape[0], ...weight.shape.slice(1)],
      data: new Float32Array(3 * weight.data.length),
    };
    joined.data.set(weight.data, 'qkv'.indexOf(part) * weight.data.length);
    result.set(`${layer}.attn.in_proj_${kind}`, joined);
  }
  return result;
}
