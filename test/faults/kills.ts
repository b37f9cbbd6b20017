/** Verbs that are killed while they write: what they leave, and what the next run makes of it. */
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { EXIT } from '../../src/lib/errors.js';
import type { Outcome } from '../commands/binary.js';
import { below, type Random } from '../fuzz/mutate.js';
import type { Ground } from './ground.js';
import { type Fault, faultEnvironment } from './shim.js';
import { differences, litter, notWhole, readTree, type Tree } from './tree.js';
import type { WritingVerb } from './verbs.js';

/** No file is called so. */
export const NOTHING = /(?!)/;

/** How a verb ends at a change, in turn. */
export const KILLS: readonly (Omit<Fault, 'at'> & { name: string })[] = [
  { name: 'killed before', mode: 'kill', number: os.constants.signals.SIGKILL },
  { name: 'killed within', mode: 'torn' },
  { name: 'terminated', mode: 'kill', number: os.constants.signals.SIGTERM },
];

export interface Undisturbed {
  readonly tree: Tree;
  readonly milliseconds: number;
}

/** What the verb leaves when nothing happens. @throws Error when it fails, or two runs differ */
export async function undisturbed(ground: Ground, verb: WritingVerb): Promise<Undisturbed> {
  await ground.prepare(verb.needs);
  const trees: Tree[] = [];
  let milliseconds = 0;
  for (let run = 0; run < 2; run++) {
    ground.clear();
    const start = performance.now();
    const { code, stderr } = await ground.run(verb);
    milliseconds = performance.now() - start;
    if (code !== 0) throw new Error(`${verb.name}: ${stderr}`);
    trees.push(readTree(ground.cwd));
  }
  if (!isDeepStrictEqual(trees[0], trees[1])) {
    throw new Error(`${verb.name}: two runs differ: ${differences(trees[1], trees[0]).join(' ')}`);
  }
  return { tree: trees[0], milliseconds };
}

/** What came of a fault. */
export interface Disturbed {
  /** Whether the fault came before the end. */
  readonly happened: boolean;
  /** At what. */
  readonly where: string;
  /** What is not as promised. */
  readonly problems: readonly string[];
}

/** What the next run makes of what a killed one left, by verb and by that: other kills leave the same. */
const judged = new Map<string, readonly string[]>();

/**
 * Of a fault that the verb's end came before: a verb that fails by itself reaches none, which is no proof of anything.
 */
export const unreached = ({ code, signal, stderr }: Outcome): Disturbed => ({
  happened: false,
  where: '',
  problems: code === EXIT.ok ? [] : [`no fault was reached, and it ends with ${code ?? signal}: ${stderr}`],
});

/** Looks at what a killed verb has left, then runs it again, undisturbed. */
async function judge(ground: Ground, verb: WritingVerb, { tree }: Undisturbed): Promise<readonly string[]> {
  const left = [...readTree(ground.cwd)].map(([file, content]) => `${file.replace(/-\d+-\d+\.tmp/, '')} ${content}`);
  const state = JSON.stringify([verb.name, left.sort()]);
  const known = judged.get(state) ?? (await judgeState(ground, verb, tree));
  judged.set(state, known);
  return known;
}

async function judgeState(ground: Ground, verb: WritingVerb, tree: Tree): Promise<string[]> {
  const problems = notWhole(ground.cwd, tree, verb.partial ?? NOTHING).map((file) => `${file} is not whole`);
  const wasComplete = differences(readTree(ground.cwd), tree).length === 0;
  const { code, stderr } = await ground.run(verb);
  // What came to its name before the kill may not be written again: a new folder is asked for.
  if (code !== 0 && !(code === EXIT.usage && wasComplete)) problems.push(`the next run ends with ${code}: ${stderr}`);
  const others = differences(readTree(ground.cwd), tree);
  if (others.length > 0) problems.push(`after the next run: ${others.join(' ')}`);
  return problems;
}

/** What the shim says has happened; empty if nothing has. */
export const toldOf = (ground: Ground): string =>
  existsSync(ground.told) ? readFileSync(ground.told, 'utf8').trim().replaceAll(`${ground.folder}/`, '') : '';

/** Kills at a change of the file system, by a signal or in the middle of it. */
export async function killAt(
  ground: Ground,
  verb: WritingVerb,
  expected: Undisturbed,
  shim: string,
  fault: Fault,
): Promise<Disturbed> {
  ground.clear();
  const outcome = await ground.run(verb, faultEnvironment(shim, fault, ground.told, ground.folder));
  const where = toldOf(ground);
  if (where === '') return unreached(outcome);
  const asked = fault.mode === 'kill' && fault.number !== os.constants.signals.SIGKILL;
  const left = asked ? litter(readTree(ground.cwd)).map((file) => `${file} is left behind`) : [];
  return { happened: true, where, problems: [...left, ...(await judge(ground, verb, expected))] };
}

/** Kills at any time, where no shim can be made. */
export async function killAfter(
  ground: Ground,
  verb: WritingVerb,
  expected: Undisturbed,
  random: Random,
): Promise<Disturbed> {
  ground.clear();
  const milliseconds = below(random, Math.ceil(expected.milliseconds));
  const child = ground.start(verb);
  const timer = new AbortController();
  void sleep(milliseconds, undefined, { signal: timer.signal }).then(
    () => child.process.kill('SIGKILL'),
    () => {},
  );
  const signal = await child.ended;
  timer.abort();
  const problems = await judge(ground, verb, expected);
  return { happened: signal === 'SIGKILL', where: `after ${milliseconds} ms`, problems };
}
