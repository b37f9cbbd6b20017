/** A verb: its text, its operands, its options, and its work. Command line, help and man pages are made from it. */

import { flag, off, text } from '../options/option.js';
import type { Preset } from '../options/resolve.js';
import { options, type Table, type Values } from '../options/table.js';

export interface Example {
  why: string;
  command: string;
}

/** A word of the command line that is no option: `<input>`, `[input]`, `<files...>`, `[files...]`. */
export interface Operand<Syntax extends string = string> {
  readonly syntax: Syntax;
  readonly description: string;
  readonly choices?: readonly string[];
}

export const operand = <const Syntax extends string>(
  syntax: Syntax,
  description: string,
  choices?: readonly string[],
): Operand<Syntax> => ({ syntax, description, choices });

type OperandValue<Syntax> = Syntax extends `<${string}...>` | `[${string}...]`
  ? string[]
  : Syntax extends `<${string}>`
    ? string
    : string | undefined;

type OperandValues<O extends readonly Operand[]> = { -readonly [I in keyof O]: OperandValue<O[I]['syntax']> };

/** What every verb takes. */
export const COMMON = options({
  quiet: flag('-q, --quiet', 'no progress and no notes on stderr'),
  color: off('--no-color', 'no colour, as with NO_COLOR=1', { commandLineOnly: true }),
  config: text('--config <file>', 'options from this TOML file', {
    defaultText: './repa.toml when it exists',
    commandLineOnly: true,
  }),
});

interface VerbParts<T extends Table, O extends readonly Operand[]> {
  /** What it reads, does and writes: the help's first words and the man page's DESCRIPTION. */
  description: string;
  examples: readonly Example[];
  operands?: O;
  options?: T;
  /** The recipe that these values name, for options that no source gives. */
  presetOf?(values: Values<T>): Preset | undefined;
  /** Called with the operands and, last, the values of the options. */
  run(...args: [...OperandValues<O>, Values<T & typeof COMMON>]): Promise<void>;
}

/** A verb without the types of its values, as help and man pages read it. */
export interface Verb {
  readonly description: string;
  readonly examples: readonly Example[];
  readonly operands: readonly Operand[];
  /** Its own options, then those that every verb has. */
  readonly options: Table;
  // biome-ignore-start lint/suspicious/noExplicitAny: VerbParts has the types
  presetOf?(values: any): Preset | undefined;
  run(...args: any[]): Promise<void>;
  // biome-ignore-end lint/suspicious/noExplicitAny: VerbParts has the types
}

/** Puts each paragraph on one line, to be wrapped when printed. */
const unwrapped = (text: string): string => text.replace(/(?<!\n)\n(?!\n)/g, ' ');

/** Declares a verb. Its name and its summary are in the list of verbs. */
export const verb = <const T extends Table, const O extends readonly Operand[] = []>(parts: VerbParts<T, O>): Verb => ({
  ...parts,
  description: unwrapped(parts.description),
  operands: parts.operands ?? [],
  options: { ...parts.options, ...COMMON },
});
