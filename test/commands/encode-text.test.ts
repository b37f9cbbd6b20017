/** Captions to a stream of vectors, one row each and one of the empty caption. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { fixturePath } from '../support.js';
import { repa, temporaryFolder } from './binary.js';

test('captions become rows, those of a picture one after the other, and the empty one last', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'a.json'), '{"b.png":["a photo","a cat"],"a.png":"two dogs"}');
  const network = ['--weights', fixtureWeightsFile('text'), '--tokenizer', fixturePath('text'), '--batch-size', '3'];
  const { code, stderr } = await repa(['encode-text', 'a.json', ...network, '-o', 'text'], { cwd });
  assert.equal(code, 0, stderr);
  const reader = await openTensorStream(path.join(cwd, 'text'));
  assert.equal(reader.schema.metadata['repa.kind'], 'text');
  assert.deepEqual(reader.schema.columns.at(-1)!.shape, [77, 128]);
  const keys: string[] = [];
  for await (const batch of reader) keys.push(...batch.keys);
  assert.deepEqual(keys, ['b.png#0', 'b.png#1', 'a.png#0', '#']);
  for (const [args, exit, message] of [
    [['encode-text', 'a.json', '--weights', fixtureWeightsFile('text')], 69, /clip-vocabulary/],
    [['encode-text', 'nowhere.txt', ...network], 66, /nowhere\.txt: no such file/],
    [['encode-text', 'a.json', ...network, '--encoder', 'bert'], 2, /no encoder of text 'bert'/],
  ] as const) {
    const outcome = await repa([...args, '-o', 'x'], { cwd, env: { REPA_HOME: path.join(cwd, 'home') } });
    assert.equal(outcome.code, exit, outcome.stderr);
    assert.match(outcome.stderr, message);
  }
});
