/** Captions, wherever they stand beside pictures. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { DataError, MissingInputError } from '../../../src/lib/errors.js';
import { captionRows, pictureOf, readCaptions } from '../../../src/lib/images/captions.js';
import { temporaryFolder } from '../../support.js';

const read = (source: string) => Object.fromEntries(readCaptions(source));

test('captions of a folder, of lines, of JSON, of COCO and of a text', () => {
  const folder = temporaryFolder();
  const file = (name: string, text: string): string => {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  for (const name of ['imgs/a/1.jpg', 'imgs/2.png', 'imgs/3.png']) file(name, '');
  file('imgs/a/1.txt', 'a cat\n\n a dog \n');
  file('imgs/2.txt', '\n');
  assert.deepEqual(read(path.join(folder, 'imgs')), { 'a/1.jpg': ['a cat', 'a dog'] });

  const lines =
    '{"file_name":"1.jpg","text":"x"}\n\n{"file_name":"2.jpg","caption":"y"}\n{"file_name":"1.jpg","text":"z"}\n';
  const wanted = { '1.jpg': ['x', 'z'], '2.jpg': ['y'] };
  assert.deepEqual(read(file('captions.jsonl', lines)), wanted);
  file('imgs/metadata.csv', 'file_name,text\n1.jpg,"x, y"\n');
  assert.deepEqual(read(path.join(folder, 'imgs')), { '1.jpg': ['x, y'] });
  file('imgs/metadata.jsonl', lines);
  assert.deepEqual(read(path.join(folder, 'imgs')), wanted);

  assert.deepEqual(read(file('a.json', '{"1.jpg":["x","z"],"2.jpg":"y"}')), wanted);
  const coco = {
    images: [
      { id: 7, file_name: '1.jpg' },
      { id: 8, file_name: '2.jpg' },
    ],
    annotations: [
      { image_id: 7, caption: 'x' },
      { image_id: 8, caption: 'y' },
      { image_id: 7, caption: 'z' },
    ],
  };
  assert.deepEqual(read(file('coco.json', JSON.stringify(coco))), wanted);
  assert.deepEqual(read(file('prompts.txt', 'one\n\ntwo\n')), { 0: ['one'], 1: ['two'] });

  assert.throws(() => readCaptions(path.join(folder, 'none')), MissingInputError);
  for (const [name, text, message] of [
    ['empty.txt', '\n', /holds no captions/],
    ['bad.jsonl', '{"file_name":"1.jpg"}\n', /line 1 has no 'file_name' with a 'text' or 'caption'/],
    ['bad.csv', 'file_name,text\n,x\n1.jpg\n', /row 3 has 1 cells/],
    ['none.csv', 'file_name,label\n1.jpg,x\n', /row 2 has no 'file_name' with a 'text' or 'caption'/],
    ['list.json', '[]', /is no JSON object/],
    ['number.json', '{"1.jpg":[]}', /'1\.jpg' is neither a text nor a list of texts/],
    ['coco-2.json', '{"images":[],"annotations":[{"image_id":1,"caption":"x"}]}', /annotation 0 has no caption/],
  ] as const) {
    assert.throws(
      () => readCaptions(file(name, text)),
      (error: Error) => error instanceof DataError && message.test(error.message),
    );
  }
});

test('each caption has a key of its own, from which its picture is known', () => {
  const rows = captionRows(new Map([['a#1/b.png', ['x', 'y']]]));
  assert.deepEqual(rows, [
    { key: 'a#1/b.png#0', caption: 'x' },
    { key: 'a#1/b.png#1', caption: 'y' },
    { key: '#', caption: '' },
  ]);
  assert.deepEqual(
    rows.map(({ key }) => pictureOf(key)),
    ['a#1/b.png', 'a#1/b.png', undefined],
  );
});
