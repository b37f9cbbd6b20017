/**
 * Kills, refusals of the disk, and calls in pieces, over every verb that writes:
 *
 *     node dist/test/faults/main.js kills|disk|pieces|readers [--verb NAME] [--every K] [--times N] [--seed S]
 *
 * `readers` are verbs that are to change nothing. Each change of the file system that a verb makes is one case;
 * `--every 5` takes each fifth. Without a C compiler, or with `--times`, N kills of each verb at random times take the
 * place of those at calls.
 */
import { parseArgs } from 'node:util';
import { seeded } from '../fuzz/mutate.js';
import { REFUSALS, refuseAt } from './disk.js';
import { Ground } from './ground.js';
import { KILLS, killAfter, killAt, type Undisturbed, undisturbed } from './kills.js';
import { changesNothing, inPieces, PIECES, withoutReader } from './pieces.js';
import { compileShim } from './shim.js';
import { READERS, TO_STDOUT, VERBS, type VerbCase, type WritingVerb } from './verbs.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    verb: { type: 'string', multiple: true },
    every: { type: 'string', default: '1' },
    times: { type: 'string' },
    seed: { type: 'string', default: '1' },
  },
});

const ground = new Ground();
const shim = compileShim(ground.folder);
const every = Number(values.every);
const random = seeded(Number(values.seed));
const chosen = <V extends VerbCase>(verbs: readonly V[]): readonly V[] =>
  verbs.filter(({ name }) => values.verb?.includes(name) ?? true);
let all = 0;
let faults = 0;

function say(verb: string, cases: number, problems: readonly string[]): void {
  all += cases;
  faults += problems.length;
  process.stdout.write(`${verb}: ${cases} cases, ${problems.length} faults\n`);
  for (const problem of problems) process.stdout.write(`  ${problem}\n`);
}

/** Cases of a verb by number until one does not happen any more. */
async function throughCalls(
  name: string,
  one: (at: number) => Promise<{ happened: boolean; where: string; problems: readonly string[] }>,
): Promise<void> {
  const problems: string[] = [];
  let cases = 0;
  for (let at = 1; ; at += every) {
    const { happened, where, problems: found } = await one(at);
    problems.push(...found.map((problem) => `at ${at}, ${where}: ${problem}`));
    if (!happened) break;
    cases++;
  }
  say(name, cases, problems);
}

/** Each verb, with what it leaves when nothing happens. */
async function* verbs(): AsyncGenerator<[verb: WritingVerb, expected: Undisturbed]> {
  for (const verb of chosen(VERBS)) {
    try {
      yield [verb, await undisturbed(ground, verb)];
    } catch (error) {
      say(verb.name, 0, [(error as Error).message]);
    }
  }
}

async function kills(): Promise<void> {
  for await (const [verb, expected] of verbs()) {
    if (shim === undefined || values.times !== undefined) {
      const problems: string[] = [];
      let killed = 0;
      for (let i = 0; i < Number(values.times ?? 20); i++) {
        const { happened, where, problems: found } = await killAfter(ground, verb, expected, random);
        if (happened) killed++;
        problems.push(...found.map((problem) => `${where}: ${problem}`));
      }
      say(`${verb.name}, at random times`, killed, problems);
      continue;
    }
    for (const kill of KILLS) {
      await throughCalls(`${verb.name}, ${kill.name}`, (at) => killAt(ground, verb, expected, shim, { ...kill, at }));
    }
  }
}

async function disk(library: string): Promise<void> {
  for await (const [verb, expected] of verbs()) {
    for (const refusal of REFUSALS) {
      await throughCalls(`${verb.name}, ${refusal.name}`, (at) =>
        refuseAt(ground, verb, expected, library, { ...refusal, at }),
      );
    }
  }
}

async function pieces(library: string): Promise<void> {
  for await (const [verb, expected] of verbs()) {
    for (const { name, ...fault } of PIECES) {
      say(`${verb.name}, ${name}`, 1, await inPieces(ground, verb, expected, library, fault));
    }
  }
  for (const verb of chosen(TO_STDOUT)) {
    await ground.prepare(verb.needs);
    await throughCalls(`${verb.name}, its reader gone`, (at) => withoutReader(ground, verb, library, at));
  }
}

async function readers(library: string): Promise<void> {
  for (const verb of chosen(READERS)) {
    await ground.prepare(verb.needs);
    say(`${verb.name}, reading`, 1, await changesNothing(ground, verb, library));
  }
}

try {
  const [what] = positionals;
  if (what === 'kills') await kills();
  else if (shim === undefined)
    throw new Error('there is no C compiler (cc), which makes the library that calls fail by');
  else if (what === 'disk') await disk(shim);
  else if (what === 'pieces') await pieces(shim);
  else if (what === 'readers') await readers(shim);
  else throw new Error('kills, disk, pieces or readers?');
  process.stdout.write(`${all} cases in all, ${faults} faults\n`);
  if (faults > 0) process.exitCode = 1;
} finally {
  ground.remove();
}
