/** The program on a GPU, against itself on the processor. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { floatFromHalf } from '../../src/lib/numbers/half.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa, temporaryFolder } from '../commands/binary.js';
import { parseLog, prepared, RUN } from '../commands/training-run.js';
import { fixtureWeightsFile, readTensors } from '../fixture-weights.js';
import { fixturePath } from '../support.js';
import { assertClose, largestMagnitude } from '../tensors.js';

test('trains, continues and samples as on the processor', async (t) => {
  const cwd = await prepared(t);
  const run = async (backend: string, args: string[]) => {
    const { code, stdout, stderr } = await repa([...args, '--backend', backend], { cwd });
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const logs = [];
  for (const backend of ['onnx', 'webgpu']) {
    const train = ['train', ...RUN, '--micro-batch', '2', '--out', backend];
    await run(backend, [...train, '--steps', '2']);
    logs.push(parseLog((await run(backend, [...train, '--steps', '4'])).toString()));
  }
  const [onnx, webgpu] = logs;
  assert.equal(webgpu.length, 2);
  webgpu.forEach((entry, i) => {
    for (const name of ['loss', 'velocity_loss', 'projection_loss', 'gradient_norm']) {
      assertClose([entry[name]], [onnx[i][name]], 1e-4 * Math.abs(onnx[i][name]), `${name} of line ${i}`);
    }
  });
  for (const part of ['model', 'ema', 'optimizer']) {
    const [expected, actual] = ['onnx', 'webgpu'].map((out) =>
      readTensors(path.join(cwd, out, `step-0000004/${part}.safetensors`)),
    );
    // Where a gradient is nearly zero, AdamW follows its sign: a step of the learning rate, whichever it is.
    for (const [name, { data }] of expected) assertClose(actual.get(name)!.data, data, 4e-3, `${part} ${name}`);
  }
  const latents: Float32Array[] = [];
  for (const backend of ['onnx', 'webgpu']) {
    await run(backend, ['sample', '--ckpt', 'onnx', '--num', '2', '--steps', '4', '--latents', '-o', `z-${backend}`]);
    const reader = await openTensorStream(path.join(cwd, `z-${backend}`));
    for await (const batch of reader) latents.push(batch.tensors.latent as Float32Array);
  }
  assertClose(latents[1], latents[0], 2e-3 * largestMagnitude(latents[0]), 'latents');
});

test('encode-text gives what it gives on the processor', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'captions.json'), '{"a.png":["two dogs"],"b.png":["a cat"]}');
  const network = ['--weights', fixtureWeightsFile('text'), '--tokenizer', fixturePath('text')];
  const vectors: Float32Array[] = [];
  for (const backend of ['onnx', 'webgpu']) {
    const args = ['encode-text', 'captions.json', ...network, '-o', backend, '--backend', backend];
    const { code, stderr } = await repa(args, { cwd });
    assert.equal(code, 0, stderr);
    for await (const { tensors } of await openTensorStream(path.join(cwd, backend))) {
      vectors.push(floatFromHalf(Object.values(tensors)[0] as Uint16Array));
    }
  }
  assert.equal(vectors.length, 2);
  assertClose(vectors[1], vectors[0], 2e-3 * largestMagnitude(vectors[0]), 'vectors, stored as f16');
});
