import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { HostTensor } from '../../../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../../../src/lib/formats/safetensors.js';
import { openWeights, weightsFormat } from '../../../src/lib/formats/weights-file.js';
import { temporaryFolder } from '../../support.js';

test('a header of any length is no pickle and no zip', () => {
  const folder = temporaryFolder();
  const tensor: HostTensor = { shape: [1], dtype: 'f32', data: Float32Array.of(1) };
  const eights = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + 8 * i);
  const lengths = new Set<number>();
  // Lengths of whole eights: one byte of 0x80 begins a pickle, 0x50 0x4b a zip.
  for (const padding of [...eights(0, 33), ...eights(0x4b50 - 160, 20)]) {
    const file = path.join(folder, `${padding}.safetensors`);
    writeSafetensors(file, [['w', tensor]], { note: 'x'.repeat(padding) });
    assert.equal(weightsFormat(file), 'safetensors', `padding ${padding}`);
    const opened = openWeights(file);
    assert.deepEqual(opened.read('w').data, tensor.data);
    opened.close();
    lengths.add(readFileSync(file).readUInt16LE(0));
  }
  assert.ok([...lengths].some((length) => length % 256 === 0x80) && lengths.has(0x4b50));
});
