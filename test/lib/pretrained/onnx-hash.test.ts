import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { type ExternalData, encodeModel } from '../../../src/lib/engine/onnx/model.js';
import { sha256Of } from '../../../src/lib/files/sha256.js';
import { bytesOf } from '../../../src/lib/numbers/typed-array.js';
import { onnxHash } from '../../../src/lib/pretrained/onnx-hash.js';
import { temporaryFolder } from '../../support.js';

const folder = temporaryFolder();

test('the hash of a network is of the weights that lie beside it as well', async () => {
  const data = Float32Array.from({ length: 2 ** 20 }, (_, i) => i);
  const weight = { name: `${'w'.repeat(150)}.bin`, dtype: 'float32' as const, shape: [data.length], data };
  const graph = {
    nodes: [{ type: 'Add', domain: '', attributes: {}, inputs: ['x', weight.name], outputs: ['y'] }],
    inputs: [{ name: 'x', dtype: 'float32' as const, shape: [data.length] }],
    outputs: [{ name: 'y', dtype: 'float32' as const, shape: [data.length] }],
    initializers: [weight],
  };
  const whole = path.join(folder, 'whole.onnx');
  writeFileSync(whole, encodeModel(graph));
  assert.equal(await onnxHash(whole), await sha256Of(whole));

  const external: ExternalData[] = [];
  const file = path.join(folder, 'model.onnx');
  writeFileSync(file, encodeModel(graph, external));
  assert.equal(external.length, 1);
  const beside = path.join(folder, external[0].path);
  writeFileSync(beside, bytesOf(external[0].data));
  const before = await onnxHash(file);
  assert.notEqual(before, await sha256Of(file));
  assert.equal(await onnxHash(file), before);
  data[7] += 1;
  writeFileSync(beside, bytesOf(data));
  assert.notEqual(await onnxHash(file), before);
});

test('a name of weights that leads out of the folder, or to what never ends, is not followed', async () => {
  const file = path.join(folder, 'model.onnx');
  for (const name of ['/dev/zero', `${'../'.repeat(12)}dev/zero`]) {
    const text = Buffer.from(name);
    const location = Buffer.concat([Buffer.from('\x0a\x08location\x12', 'latin1'), Buffer.of(text.length), text]);
    writeFileSync(file, Buffer.concat([Buffer.from('any bytes before'), location]));
    assert.match(await onnxHash(file), /^[0-9a-f]{64}$/);
  }
});
