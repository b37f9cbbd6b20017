/** The floors of the house: what each room may import. An import that runs up, or around, is found here. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/** From the ground up: a room imports rooms of the floors below its own, and none beside it. */
const FLOORS: readonly (readonly string[])[] = [
  ['errors', 'version', 'batches', 'progress'],
  ['numbers', 'files', 'options', 'foreign-functions'],
  ['stream'],
  ['formats', 'parallel'],
  ['images', 'engine'],
  ['optim', 'linalg', 'nn', 'diffusion', 'hub', 'diagnosis'],
  ['models', 'metrics'],
  ['repa', 'pretrained'],
  ['training'],
  ['runs'],
  ['exchange', 'plots'],
  ['sampling'],
  ['evaluation', 'contents'],
  ['cli'],
  ['commands'],
  ['main'],
];

const source = fileURLToPath(new URL('../../../src/', import.meta.url));
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) => /(?<!\.d)\.ts$/.test(file));

const imports = new Map(
  files.map((file) => {
    const text = readFileSync(path.join(source, file), 'utf8');
    const named = [...text.matchAll(/(?:\bfrom|\bimport\()\s*'(\.[^']+)\.js'/g)].map(([, name]) => name);
    const targets = named.map((name) => `${path.join(path.dirname(file), name)}.ts`);
    return [file, targets.filter((target) => files.includes(target))];
  }),
);

/** `lib/stream/reader.ts` is of the room `stream`; page scripts, which a browser runs, are of none. */
const roomOf = (file: string): string => path.basename(file.replace(/^lib\//, '').split(path.sep)[0], '.ts');

test('no import runs up a floor, or to another room of the same', () => {
  const floorOf = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));
  const wrong: string[] = [];
  for (const [file, targets] of imports) {
    const room = roomOf(file);
    if (room === 'page') continue;
    assert.ok(floorOf.has(room), `${room} (${file}) stands on no floor: put it on one here`);
    for (const target of targets) {
      const other = roomOf(target);
      if (other !== room && floorOf.get(other)! >= floorOf.get(room)!) wrong.push(`${file} -> ${target}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test('src/README.md has a line for each room', () => {
  const text = readFileSync(new URL('../../../src/README.md', import.meta.url), 'utf8');
  const told = [...text.matchAll(/^\| `(?:lib\/)?([a-z]+)[/.]/gm)].map(([, room]) => room).sort();
  const loose = ['batches', 'errors', 'foreign-functions', 'progress', 'version'];
  const rooms = new Set(files.map(roomOf).filter((room) => !loose.includes(room)));
  assert.deepEqual(told, [...rooms].sort());
});

test('no files import each other in a circle', () => {
  const reached = (from: string): Set<string> => {
    const seen = new Set<string>();
    const open = [...imports.get(from)!];
    for (let file = open.pop(); file !== undefined; file = open.pop()) {
      if (seen.has(file)) continue;
      seen.add(file);
      open.push(...imports.get(file)!);
    }
    return seen;
  };
  const within = new Map(files.map((file) => [file, reached(file)]));
  const circles = files
    .filter((file) => within.get(file)!.has(file))
    .map((file) => files.filter((other) => within.get(file)!.has(other) && within.get(other)!.has(file)));
  const found = [...new Set(circles.map((circle) => circle.sort().join(' ')))];
  assert.deepEqual(found, []);
});

test('no line of a comment is longer than 120', () => {
  const long = files.flatMap((file) => {
    const lines = readFileSync(path.join(source, file), 'utf8').split('\n');
    return lines.flatMap((line, i) => (line.length > 120 && /^\s*(\/\/|\/?\*)/.test(line) ? `${file}:${i + 1}` : []));
  });
  assert.deepEqual(long, []);
});
