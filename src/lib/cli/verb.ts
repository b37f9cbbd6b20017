/** What every verb's command has in common: help style, examples, and the options that mean the same everywhere. */
import { Command, type CommandUnknownOpts, Option } from '@commander-js/extra-typings';
import { coresPerProcess } from '../parallel/environment.js';
import { integer, shard } from './parse.js';
import { styleOut } from './terminal.js';

export interface Example {
  why: string;
  command: string;
}

const examplesByCommand = new WeakMap<CommandUnknownOpts, readonly Example[]>();

/** The examples of a verb: the end of its help, and of its man page. */
export const examplesOf = (command: CommandUnknownOpts): readonly Example[] => examplesByCommand.get(command) ?? [];

export interface VerbText {
  /** One line for the list of verbs. */
  summary: string;
  /** What it reads, does and writes: the man page's DESCRIPTION. */
  description: string;
  examples: readonly Example[];
}

/** Paragraphs on one line each, for whoever prints them to wrap. */
const unwrapped = (text: string): string => text.replace(/(?<!\n)\n(?!\n)/g, ' ');

/** A new verb, with the options that every verb has. */
export function verb(name: string, { summary, description, examples }: VerbText) {
  const command = new Command(name)
    .summary(summary)
    .description(unwrapped(description))
    .allowExcessArguments(false)
    .option('-q, --quiet', 'no progress and no notes on stderr')
    .option('--no-color', 'no colour, as with NO_COLOR=1')
    .option('--config <file>', 'options from this TOML file (default: ./repa.toml when it exists)')
    .configureHelp({
      styleTitle: (title) => styleOut.bold(title),
      visibleOptions: (shown) => orderedOptions(shown),
    })
    .addHelpText('after', () => `\n${styleOut.bold('Examples:')}\n${examples.map(showExample).join('\n')}`);
  examplesByCommand.set(command, examples);
  return command;
}

const COMMON = new Set(['quiet', 'color', 'config']);

/** A verb's own options, then those that every verb has. */
export function orderedOptions(command: CommandUnknownOpts): Option[] {
  const isCommon = (option: Option): boolean => COMMON.has(option.attributeName());
  const { options } = command;
  return [...options.filter((option) => !isCommon(option)), ...options.filter(isCommon)];
}

const showExample = ({ why, command }: Example): string => `  ${styleOut.dim(`# ${why}`)}\n  $ ${command}\n`;

export const seedOption = () => new Option('--seed <n>', 'seed of everything random').argParser(integer(0)).default(0);

export const batchSizeOption = (size: number) =>
  new Option('--batch-size <n>', 'rows computed at a time; changes speed and memory')
    .argParser(integer(1))
    .default(size);

export const shardOption = () =>
  new Option('--shard <i/N>', 'do only part i of N (default: from a Slurm array, an Indexed Job or MPI)').argParser(
    shard,
  );

export const backendOption = () =>
  new Option(
    '--backend <name>',
    'what computes tensors; auto is tensorflow-gpu where that and an NVIDIA driver are installed, else onnx',
  )
    .choices(['auto', 'onnx', 'tensorflow', 'tensorflow-gpu'] as const)
    .default('auto' as const);

export const threadsOption = () =>
  new Option('--threads <n>', 'threads of the tensor engine')
    .argParser(integer(1))
    .default(coresPerProcess(), 'all cores; under MPI, shared by the ranks of a machine');

export const dtypeOption = () =>
  new Option('--dtype <type>', 'how floats are stored').choices(['f16', 'f32'] as const).default('f16' as const);

/** Of features, whose directions survive 8 bits. */
export const featureTypeOption = () =>
  new Option('--dtype <type>', 'how floats are stored; i8 with one f16 scale a token, half of f16')
    .choices(['f16', 'f32', 'i8'] as const)
    .default('f16' as const);

export const outputOption = () =>
  new Option('-o, --out <path>', 'write here instead of stdout; a path that ends in / is a shard folder');

export const jsonOption = () => new Option('--json', 'one JSON object a line instead of a table');
