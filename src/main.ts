/** The program: finds the verb, loads only that verb, and turns whatever happens into an exit code. */
import { Command, CommanderError } from '@commander-js/extra-typings';
import { verbs } from './commands/index.js';
import { overview } from './commands/overview.js';
import { commandOf, type ListedVerb, type OtherSources } from './lib/cli/command.js';
import { configSources, environment, readConfig, toldBy } from './lib/cli/config.js';
import { installSignalHandlers } from './lib/cli/interrupt.js';
import { watchStandardOutput } from './lib/cli/standard-output.js';
import { isSecondaryRank, printable, styleErr, styleOut } from './lib/cli/terminal.js';
import type { Verb } from './lib/cli/verb.js';
import { onCompilation } from './lib/engine/compilation.js';
import { onNotice } from './lib/engine/notice.js';
import { diskProblem, EXIT, pathProblem, RepaError } from './lib/errors.js';
import { isDescriptor, STDOUT } from './lib/files/atomic-file.js';
import { whyMissing } from './lib/files/missing.js';
import type { Source } from './lib/options/resolve.js';
import { closest } from './lib/options/suggest.js';
import { deviceOfRank, mpiRank } from './lib/parallel/environment.js';
import { version } from './lib/version.js';

function program(): Command {
  const root = new Command('repa')
    .description(overview)
    .version(`repa ${version}`, '-V, --version')
    .usage('<verb> [options]')
    .helpCommand('help [verb]', 'the help of a verb')
    .configureHelp({ styleTitle: (title) => styleOut.bold(title), styleSubcommandText: (text) => styleOut.cyan(text) })
    .addHelpText('after', '\nFiles and pipes: man repa-tensors.  Settings of a project: repa.toml (man repa).');
  for (const { name, summary } of verbs) root.command(name).summary(summary);
  return root;
}

async function runVerb(entry: ListedVerb, args: string[]): Promise<void> {
  const verb = await entry.load();
  const command = commandOf(entry, verb, sourcesOf(entry.name, verb));
  command.exitOverride();
  command.configureOutput({ outputError: () => {} });
  new Command('repa').addCommand(command); // its parent gives the usage line its first word
  await command.parseAsync(args, { from: 'user' });
}

/** The sources behind the command line: the environment, then the configuration file, whose part is told on stderr. */
function sourcesOf(name: string, { options }: Verb): OtherSources {
  let told: ((given: ReadonlyMap<string, Source>) => string | undefined) | undefined;
  return {
    async open(named) {
      const names = verbs.map((entry) => entry.name);
      const config = await readConfig(named, names);
      if (!config) return [environment];
      const tables = async () => (await Promise.all(verbs.map((entry) => entry.load()))).map((verb) => verb.options);
      const file = await configSources(config, { name, options }, tables);
      told = (given) => toldBy(config, given, file, options);
      return [environment, ...file];
    },
    tell(given, { quiet }) {
      if (!quiet && !isSecondaryRank()) {
        onCompilation(tellCompilation);
        onNotice((line) => process.stderr.write(`note: ${printable(line)}\n`));
      }
      const line = quiet || isSecondaryRank() ? undefined : told?.(given);
      if (line !== undefined) process.stderr.write(`${printable(line)}\n`);
    },
  };
}

/** Tells that a compiler of an accelerator is at work, which may take long. */
function tellCompilation(characters: number): (milliseconds: number) => void {
  process.stderr.write(`compiling a program of ${(characters / 1e6).toFixed(1)} MB, to be kept for the next time\n`);
  return (milliseconds) => process.stderr.write(`compiled in ${(milliseconds / 1000).toFixed(0)} s\n`);
}

/** Help asked for in any of the usual ways is `verb --help`. */
function normalise(args: string[]): string[] {
  if (args[0] === 'help' && args[1] !== undefined && !args[1].startsWith('-')) return [args[1], '--help'];
  return args[0] === 'help' ? ['--help'] : args;
}

async function main(argv: string[]): Promise<number> {
  const args = normalise(argv);
  const first = args.findIndex((arg) => !arg.startsWith('-'));
  if (first < 0) {
    const asked = args.some((arg) => ['-h', '--help', '-V', '--version'].includes(arg));
    if (asked) program().parse(args, { from: 'user' }); // prints and exits
    program().outputHelp({ error: true });
    return EXIT.usage;
  }
  const name = args[first];
  if (name === 'complete') {
    // Asked by the script of `repa completion` at each press of the tab key; in no list of verbs.
    const { completeWith } = await import('./commands/completion.js');
    await completeWith(verbs, args.slice(first + 1));
    return EXIT.ok;
  }
  const entry = verbs.find((candidate) => candidate.name === name);
  if (!entry) {
    const names = verbs.map((candidate) => candidate.name);
    return report(
      new RepaError(EXIT.usage, `'${name}' is no verb of repa`, closest(name, names) ?? 'repa --help lists them.'),
    );
  }
  try {
    await runVerb(entry, [...args.slice(0, first), ...args.slice(first + 1)]);
    return Number(process.exitCode ?? EXIT.ok);
  } catch (error) {
    return report(error, name);
  }
}

/** What too many arguments may have meant: a pattern of archives that the shell has expanded, or `head -5`. */
function meantBy({ code }: CommanderError): string | undefined {
  if (code !== 'commander.excessArguments') return undefined;
  const rows = process.argv.find((word) => /^-\d+$/.test(word));
  if (rows !== undefined) return `Is ${rows} a number of rows? That is -n ${rows.slice(1)} here.`;
  return process.argv.filter((word) => /\.(tar|tar\.gz|tgz)$/i.test(word)).length > 1
    ? "Several archives are one argument, in quotes: 'imgs-{000..127}.tar'."
    : undefined;
}

/** Prints what went wrong, where and what to do, and returns the exit code. */
function report(error: unknown, name?: string): number {
  const say = (message: string, hint?: string) => {
    const rank = mpiRank();
    const program = `repa${name ? ` ${name}` : ''}${rank ? ` (rank ${rank.index})` : ''}`;
    process.stderr.write(`${styleErr.red(program)}: ${printable(message)}\n`);
    if (hint) process.stderr.write(`  ${printable(hint)}\n`);
    if (process.env.DEBUG === 'repa' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  };
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return EXIT.ok;
    const [message, ...suggestion] = error.message.replace(/^error: /, '').split('\n');
    say(message, suggestion.join(' ') || meantBy(error) || `repa ${name} --help lists its options.`);
    return EXIT.usage;
  }
  if (error instanceof RepaError) {
    say(error.message, error.hint);
    return error.exitCode;
  }
  const { code, path, message } = error as NodeJS.ErrnoException;
  if (code === 'EPIPE') return EXIT.ok; // the reader has seen enough
  if (code === 'ENOENT') {
    say(path === undefined ? message : `${path}: ${whyMissing(path, 'file or folder')}`);
    return EXIT.missingInput;
  }
  const misnamed = pathProblem(error);
  if (misnamed) {
    say(`${path ?? 'a path'}: ${misnamed}`);
    return EXIT.usage;
  }
  const disk = diskProblem(error);
  if (disk) {
    const isPartial = path !== undefined && isDescriptor(path);
    const where = path === STDOUT ? 'stdout' : path;
    const left = isPartial
      ? 'What was written there is not whole.'
      : 'Nothing half-written was left under the final name.';
    say(`${disk}${where ? `: ${where}` : ''}`, left);
    return EXIT.unavailable;
  }
  say(`${message ?? error}`, 'This is a bug of repa. DEBUG=repa shows where it happened.');
  return EXIT.bug;
}

watchStandardOutput(report);
installSignalHandlers();
const device = deviceOfRank();
if (device !== undefined) process.env.CUDA_VISIBLE_DEVICES = device;
process.exitCode = await main(process.argv.slice(2));
