/** repa completion: what a shell needs to complete verbs and options. */
import tab from '@bomb.sh/tab/commander';
import { Command } from 'commander';
import { commandOf, type ListedVerb } from '../lib/cli/command.js';
import { operand, type Verb, verb } from '../lib/cli/verb.js';

const description = `Prints a script that teaches a shell to complete the verbs and options of repa.

It goes into the shell's start-up file, or is sourced for the session.`;

const examples = [
  { why: 'for this bash session', command: 'source <(repa completion bash)' },
  { why: 'for every zsh session', command: "echo 'source <(repa completion zsh)' >> ~/.zshrc" },
];

/** The verb, which knows all of `verbs`. */
export const completion = (verbs: readonly ListedVerb[]): Verb =>
  verb({
    description,
    examples,
    operands: [operand('<shell>', 'the shell that reads the script', ['bash', 'zsh', 'fish', 'powershell'])],
    run: (shell) => completeWith(verbs, [shell]),
  });

/** Answers what the script asks at each press of the tab key: `complete -- words...`. */
export async function completeWith(verbs: readonly ListedVerb[], args: readonly string[]): Promise<void> {
  const program = new Command('repa');
  for (const entry of verbs) {
    const command = commandOf(entry, await entry.load()) as unknown as Command;
    program.addCommand(command.description(entry.summary)); // a menu has room for one line
  }
  tab(program);
  await program.parseAsync(['complete', ...args], { from: 'user' });
}
