/**
 * Makes a verb a command of commander, which reads the command line and prints the help; its values are then joined
 * with those of the other sources.
 */
import {
  Argument,
  Command,
  Option as CommanderOption,
  type CommandUnknownOpts,
  InvalidArgumentError,
} from '@commander-js/extra-typings';
import { type Option, ValueProblem } from '../options/option.js';
import { resolve, type Source } from '../options/resolve.js';
import { entriesOf } from '../options/table.js';
import { checkOutputs } from './outputs.js';
import { styleOut } from './terminal.js';
import type { Example, Verb } from './verb.js';

/** The name of a verb, and one line on what it does. */
export interface VerbName {
  readonly name: string;
  readonly summary: string;
}

/** A verb in the list of verbs, loaded when it is wanted. */
export interface ListedVerb extends VerbName {
  load(): Promise<Verb>;
}

/** Opens the sources behind the command line, the strongest first, and learns which values they gave. */
export interface OtherSources {
  open(named: string | undefined): Promise<readonly Source[]>;
  tell(given: ReadonlyMap<string, Source>, values: { quiet?: true }): void;
}

/** @param others none where nothing is run: for help and completion */
export function commandOf({ name, summary }: VerbName, verb: Verb, others?: OtherSources): CommandUnknownOpts {
  const { description, examples, operands } = verb;
  const command = new Command(name)
    .summary(summary)
    .description(description)
    .allowExcessArguments(false)
    .configureHelp({ styleTitle: (title) => styleOut.bold(title) })
    .addHelpText('after', () => `\n${styleOut.bold('Examples:')}\n${examples.map(showExample).join('\n')}`);
  for (const { syntax, description, choices } of operands) {
    const argument = new Argument(syntax, description);
    command.addArgument(choices ? argument.choices(choices) : argument);
  }
  for (const { option } of entriesOf(verb.options)) command.addOption(commanderOption(option));
  return command.action(async (...args: unknown[]) => {
    const commandLine = sourceOf(command);
    const named = commandLine.value(verb.options.config as Option) as string | undefined;
    const sources = [commandLine, ...((await others?.open(named)) ?? [])];
    const { values, sources: given } = resolve(verb.options, sources, verb.presetOf);
    others?.tell(given, values);
    if (others) await checkOutputs(verb.options, values);
    await verb.run(...args.slice(0, operands.length), values);
  });
}

const showExample = ({ why, command }: Example): string => `  ${styleOut.dim(`# ${why}`)}\n  $ ${command}\n`;

function commanderOption(option: Option): CommanderOption {
  const { flags, choices, fallback, defaultText } = option;
  const isNoted = fallback === undefined && defaultText !== undefined;
  const shown = new CommanderOption(flags, option.description + (isNoted ? ` (default: ${defaultText})` : ''));
  if (option.kind === 'flag' || option.kind === 'off') return shown;
  if (choices) shown.choices(choices);
  return shown.default(fallback, defaultText).argParser<unknown>((value, before) => {
    if (option.once && before !== undefined) throw new InvalidArgumentError(`It was given already, as ${before}.`);
    return readWord(option, value);
  });
}

/** A value from the command line; the empty word, such as of a variable that is not set, counts as not given. */
function readWord({ kind, parse }: Option, word: string): unknown {
  if (word === '') return undefined;
  try {
    return kind === 'list' ? word.split(',').map((item) => parse(item.trim())) : parse(word);
  } catch (error) {
    if (error instanceof ValueProblem) throw new InvalidArgumentError(error.message);
    throw error;
  }
}

const sourceOf = (command: CommandUnknownOpts): Source => ({
  name: '',
  value({ long }) {
    const option = command.options.find((candidate) => candidate.long === long)!;
    const key = option.attributeName();
    const value = command.getOptionValueSource(key) === 'cli' ? command.getOptionValue(key) : undefined;
    return value === '' ? undefined : value; // commander has no other way to say that nothing was given
  },
});
