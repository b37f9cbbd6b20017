import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { isFinished, listParts, parsePartName, partName, partSink } from '../../../src/lib/stream/shards.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { temporaryFolder } from '../../support.js';
import { readRows, SMALL_ROWS, SMALL_SCHEMA } from './support.js';

const folder = temporaryFolder();

async function writePart(shards: string, index: number, count: number): Promise<boolean> {
  if (isFinished(shards, { index, count })) return false;
  const writer = new TensorWriter(partSink(shards, { index, count }), SMALL_SCHEMA);
  const { key, label, tensors } = SMALL_ROWS[index];
  await writer.append(key, label, tensors);
  await writer.end();
  return true;
}

describe('shard folder', () => {
  it('names parts so that they sort, and knows its own names', () => {
    assert.equal(partName({ index: 3, count: 16 }), 'part-00003-of-00016.arrows');
    assert.deepEqual(parsePartName('part-00003-of-00016.arrows'), { index: 3, count: 16 });
    const others = ['part-00016-of-00016.arrows', 'part-00000-of-00000.arrows', 'part-0-of-1.arrows', 'index.json'];
    for (const name of [...others, '.part-00003-of-00016.arrows.1-0.tmp', 'part-00003-of-00016.arrows.tmp']) {
      assert.equal(parsePartName(name), undefined, name);
    }
  });

  it('skips what is finished and leaves only what is complete', async () => {
    const shards = path.join(folder, 'made', 'deep');
    assert.equal(await writePart(shards, 1, 3), true);
    assert.equal(await writePart(shards, 1, 3), false);
    const dropped = partSink(shards, { index: 0, count: 3 });
    await dropped.write([Uint8Array.of(1, 2, 3)]);
    await dropped.abort();
    const killed = partSink(shards, { index: 0, count: 3 });
    await killed.write([Uint8Array.of(1, 2, 3)]);
    assert.throws(
      () => listParts(shards),
      (error: Error) =>
        error instanceof DataError && /missing part-00000-of-00003.arrows, part-00002-of/.test(error.message),
    );
    assert.equal(await writePart(shards, 0, 3), true);
    assert.equal(await writePart(shards, 2, 3), true);
    assert.deepEqual(
      listParts(shards),
      [0, 1, 2].map((index) => partName({ index, count: 3 })),
    );
    assert.deepEqual((await readRows(shards)).rows, SMALL_ROWS);
    await killed.abort();
    assert.equal(fs.readdirSync(shards).length, 3);
  });

  it('is of one cut only', async () => {
    const shards = path.join(folder, 'cut');
    await writePart(shards, 0, 1);
    await assert.rejects(writePart(shards, 0, 2), /holds parts of 1, not of 2/);
    fs.writeFileSync(path.join(shards, partName({ index: 0, count: 2 })), '');
    assert.throws(() => listParts(shards), /holds parts of 1 and of 2/);
  });

  it('must be there and hold parts', () => {
    assert.throws(() => listParts(path.join(folder, 'absent')), MissingInputError);
    assert.throws(() => listParts(folder), MissingInputError);
  });

  it('does not spend memory on the count that a name claims', () => {
    const shards = path.join(folder, 'claims');
    fs.mkdirSync(shards);
    fs.writeFileSync(path.join(shards, 'part-0000000-of-9999999.arrows'), '');
    assert.throws(() => listParts(shards), /missing part-00001-of-9999999.*9999998 in all/);
  });
});
