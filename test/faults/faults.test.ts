/** The short form of the campaigns of main.ts: each call of a few verbs. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { verbs } from '../../src/commands/index.js';
import type { Option } from '../../src/lib/options/option.js';
import { entriesOf } from '../../src/lib/options/table.js';
import { seeded } from '../fuzz/mutate.js';
import { REFUSALS, refuseAt } from './disk.js';
import { Ground } from './ground.js';
import { type Disturbed, KILLS, killAfter, killAt, undisturbed } from './kills.js';
import { inPieces, PIECES, withoutReader } from './pieces.js';
import { compileShim } from './shim.js';
import { READERS, TO_STDOUT, VERBS, type VerbCase, type WritingVerb } from './verbs.js';

const ground = new Ground();
after(() => ground.remove());
const shim = compileShim(ground.folder);
const skip = shim === undefined && 'there is no C compiler';

const verb = (name: string): WritingVerb => VERBS.find((each) => each.name === name)!;

/** Whether a command writes to this output, by name or by default. */
const writesTo = (option: Option, { args }: VerbCase): boolean =>
  option.fallback !== undefined || option.flags.split(/[ ,]+/).some((word) => args.includes(word));

/** Verbs that serve until they are stopped. */
const SERVERS = ['watch'];

test('the campaigns take every verb, and each output that a verb has', async () => {
  for (const { name, load } of verbs) {
    const [writing, reading] = [VERBS, READERS].map((cases) => cases.filter(({ args }) => args[0] === name));
    const told = `${name}: its cases belong into VERBS if it writes, else into READERS`;
    if (!SERVERS.includes(name)) assert.equal(writing.length > 0, reading.length === 0, told);
    const outputs = entriesOf((await load()).options).flatMap(({ option }) => (option.writes ? [option] : []));
    for (const option of outputs) {
      assert.ok(
        writing.some((each) => writesTo(option, each)),
        `no case in VERBS: ${name} ${option.flags}`,
      );
    }
  }
});

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
  const pictures = verb('import-images');
  assert.deepEqual(await inPieces(ground, pictures, await undisturbed(ground, pictures), shim!, PIECES[0]), []);
  const piped = TO_STDOUT.find(({ name }) => name === 'cat')!;
  assert.ok((await throughCalls((at) => withoutReader(ground, piped, shim!, at))) >= 2);
});
