/** The short form of the campaigns of main.ts: each call of a few verbs. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { seeded } from '../fuzz/mutate.js';
import { REFUSALS, refuseAt } from './disk.js';
import { type Disturbed, KILLS, killAfter, killAt, undisturbed } from './kills.js';
import { inPieces, PIECES, withoutReader } from './pieces.js';
import { compileShim } from './shim.js';
import { Ground, TO_STDOUT, VERBS, type WritingVerb } from './verbs.js';

const ground = new Ground();
after(() => ground.remove());
const shim = compileShim(ground.folder);
const skip = shim === undefined && 'there is no C compiler';

const verb = (name: string, verbs = VERBS): WritingVerb => verbs.find((each) => each.name === name)!;

/** Cases by number, as many as happen. @returns how many there were */
async function throughCalls(one: (at: number) => Promise<Disturbed>, every = 1): Promise<number> {
  for (let at = 1, cases = 0; ; at += every, cases++) {
    const { happened, where, problems } = await one(at);
    assert.deepEqual(problems, [], where);
    if (!happened) return cases;
  }
}

test('a verb that is killed at any call leaves its output whole or not there, and the next run makes up for it', async () => {
  const cat = verb('cat');
  const expected = await undisturbed(ground, cat);
  if (shim === undefined) {
    for (let i = 0; i < 8; i++) assert.deepEqual((await killAfter(ground, cat, expected, seeded(i))).problems, []);
    return;
  }
  const within = KILLS.find(({ mode }) => mode === 'torn')!;
  assert.ok((await throughCalls((at) => killAt(ground, cat, expected, shim, { ...within, at }))) >= 5);
});

test('a disk that refuses any call is told with the file, and nothing half-written has a name', { skip }, async () => {
  const folder = verb('export-folder');
  const expected = await undisturbed(ground, folder);
  for (const refusal of REFUSALS.filter(({ number }) => number !== REFUSALS[0].number)) {
    const cases = await throughCalls((at) => refuseAt(ground, folder, expected, shim!, { ...refusal, at }), 4);
    assert.ok(cases >= 2, refusal.name);
  }
});

test('calls that move a part, or nothing yet, change nothing; a reader may go at any time', { skip }, async () => {
  const cat = verb('cat');
  const expected = await undisturbed(ground, cat);
  for (const { name, ...fault } of PIECES) {
    assert.deepEqual(await inPieces(ground, cat, expected, shim!, fault), [], name);
  }
  assert.ok((await throughCalls((at) => withoutReader(ground, verb('cat', TO_STDOUT), shim!, at))) >= 2);
});
