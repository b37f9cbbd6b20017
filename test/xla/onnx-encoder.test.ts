/**
 * Encoders that are ONNX files: on the devices where their operators allow it, else on the processor, which is told.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { selectBackend } from '../../src/lib/engine/index.js';
import { encodeModel, type OnnxNode } from '../../src/lib/engine/onnx/model.js';
import type { RgbImage } from '../../src/lib/images/rgb-image.js';
import { openEncoder } from '../../src/lib/pretrained/encoder.js';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa } from '../commands/binary.js';
import { fixturePath, temporaryFolder } from '../support.js';
import { assertClose, largestMagnitude } from '../tensors.js';
import { testPlugin } from './support.js';

const pictures = (side: number): RgbImage[] =>
  Array.from({ length: 3 }, (_, k) => ({
    width: side,
    height: side,
    data: Uint8Array.from({ length: 3 * side * side }, (_, i) => (i * (k + 3) * 37) % 256),
  }));

test('the network that repa ships gives on the devices what ONNX Runtime gives', async () => {
  const features = async (backend: 'onnx' | 'xla') => {
    await selectBackend({ backend, precision: 'f32', plugin: testPlugin() });
    const encoder = await openEncoder({ encoder: 'emoji-cnn', posEmbed: 'timm', batchSize: 2 });
    const crops = pictures(encoder.side);
    const { feature } = encoder.encode(crops);
    encoder.dispose();
    return { feature, engine: encoder.engine };
  };
  const expected = await features('onnx');
  const actual = await features('xla');
  assert.equal(actual.engine, undefined);
  assertClose(actual.feature, expected.feature, 1e-5 * largestMagnitude(expected.feature), 'features');
});

test('a network with another operator is computed on the processor, which is said once and recorded', async () => {
  const folder = temporaryFolder();
  const file = path.join(folder, 'other.onnx');
  const node = (type: string, inputs: string[], outputs: string[], attributes: OnnxNode['attributes']): OnnxNode => ({
    ...{ type, domain: '', attributes, inputs, outputs },
  });
  const nodes = [
    node('AveragePool', ['x'], ['pooled'], { kernel_shape: [8, 8], strides: [8, 8] }),
    node('Einsum', ['pooled'], ['y'], { equation: 'bchw->bchw' }),
  ];
  const port = (name: string) => ({ name, dtype: 'float32' as const, shape: [-1, 3, -1, -1] });
  writeFileSync(file, encodeModel({ nodes, inputs: [port('x')], outputs: [port('y')], initializers: [] }));
  const args = ['extract-dino', fixturePath('images'), '--encoder', file, '--size', '16', '-o', 'features'];
  const more = ['--backend', 'xla', '--plugin', testPlugin()];
  const { code, stderr } = await repa([...args, ...more], { cwd: folder });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /note: .*other\.onnx: Einsum has no form for xla; this network is computed by ONNX Runtime/);
  assert.equal(stderr.match(/Einsum/g)!.length, 1);
  const { metadata } = (await openTensorStream(path.join(folder, 'features'))).schema;
  assert.match(metadata['repa.engine'], /^onnx \d/);
});
