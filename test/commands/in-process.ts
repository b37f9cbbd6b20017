/** Verbs that run in the process of a test: for cases that are many and end before anything is computed. */
import assert from 'node:assert/strict';
import { CommanderError } from 'commander';
import { verbs } from '../../src/commands/index.js';
import { commandOf } from '../../src/lib/cli/command.js';
import { UsageError } from '../../src/lib/errors.js';

/** Runs a verb with options of the command line alone. */
export async function runVerb(name: string, args: readonly string[]): Promise<void> {
  const entry = verbs.find((verb) => verb.name === name)!;
  const command = commandOf(entry, await entry.load())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  await command.parseAsync([...args, '--quiet'], { from: 'user' });
}

/** The same in a folder. */
export async function runIn(cwd: string, name: string, args: readonly string[]): Promise<void> {
  const before = process.cwd();
  process.chdir(cwd);
  try {
    await runVerb(name, args);
  } finally {
    process.chdir(before);
  }
}

/** What a verb says to a wrong use of it, in a folder. */
export async function refusalOf(cwd: string, name: string, args: readonly string[]): Promise<string> {
  try {
    await runIn(cwd, name, args);
  } catch (error) {
    if (error instanceof UsageError) return `${error.message}\n${error.hint ?? ''}`;
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
  return assert.fail(`${args.join(' ')}: was not refused`);
}
