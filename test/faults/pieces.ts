/** Reads and writes in pieces, or interrupted, and readers that go away: nothing that is an error. */
import os from 'node:os';
import { EXIT } from '../../src/lib/errors.js';
import type { Ground } from './ground.js';
import { type Disturbed, toldOf, type Undisturbed, unreached } from './kills.js';
import { type Fault, faultEnvironment } from './shim.js';
import { differences, readTree, temporaries } from './tree.js';
import type { VerbCase, WritingVerb } from './verbs.js';

const { EINTR, EAGAIN, EPIPE, EIO } = os.constants.errno;

/** Calls that move less than was asked for, or nothing yet. */
export const PIECES: readonly (Fault & { name: string })[] = [
  { name: 'in halves', mode: 'short', at: 1 },
  { name: 'interrupted', mode: 'again', at: 2, number: EINTR },
  { name: 'not ready', mode: 'again', at: 2, number: EAGAIN },
];

/** @returns how the outcome is another than the undisturbed one */
export async function inPieces(
  ground: Ground,
  verb: WritingVerb,
  { tree }: Undisturbed,
  shim: string,
  fault: Fault,
): Promise<string[]> {
  ground.clear();
  const { code, signal, stderr } = await ground.run(verb, faultEnvironment(shim, fault, ground.told, ground.folder));
  if (code !== EXIT.ok) return [`ends with ${code ?? signal}: ${stderr}`];
  const others = differences(readTree(ground.cwd), tree);
  return others.length > 0 ? [`other files: ${others.join(' ')}`] : [];
}

/** A verb that writes to standard output, whose reader goes away at the n-th write. */
export async function withoutReader(ground: Ground, verb: VerbCase, shim: string, at: number): Promise<Disturbed> {
  ground.clear();
  const fault: Fault = { mode: 'gone', at, number: EPIPE };
  const outcome = await ground.run(verb, faultEnvironment(shim, fault, ground.told, ground.folder));
  const where = toldOf(ground);
  if (where === '') return unreached(outcome);
  const { code, signal, stderr } = outcome;
  const problems = code === EXIT.ok ? [] : [`ends with ${code ?? signal}: ${stderr}`];
  const left = temporaries(readTree(ground.cwd));
  if (left.length > 0) problems.push(`left behind: ${left.join(' ')}`);
  return { happened: true, where, problems };
}

/** A verb that only reads: @returns the change that it made all the same, or how else it ended. */
export async function changesNothing(ground: Ground, verb: VerbCase, shim: string): Promise<string[]> {
  ground.clear();
  const fault: Fault = { mode: 'fail', at: 1, number: EIO };
  const outcome = await ground.run(verb, faultEnvironment(shim, fault, ground.told, ground.folder));
  const where = toldOf(ground);
  return where === '' ? [...unreached(outcome).problems] : [`changes the file system: ${where}`];
}
