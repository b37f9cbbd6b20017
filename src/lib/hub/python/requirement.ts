/** Requirements of Python packages (PEP 508): names, extras, conditions on versions and on the machine. */
import { DataError } from '../../errors.js';
import { parseSpecifiers, type Specifier } from './version.js';

export interface Requirement {
  readonly project: string;
  readonly extras: readonly string[];
  readonly specifiers: readonly Specifier[];
}

/** The one spelling of a project's name (PEP 503). */
export const normalisedName = (name: string): string => name.toLowerCase().replace(/[-_.]+/g, '-');

const REQUIREMENT = /^([a-z\d](?:[\w.-]*[a-z\d])?)\s*(?:\[([^\]]*)\])?\s*(\([^)]*\)|[^;@]*?)\s*(?:;(.*))?$/i;

/**
 * One requirement; undefined where its marker says that it is for another machine, or for an extra that nobody wants.
 * @param extras those that are wanted of the package that requires it
 * @throws DataError for what is none, or is an address instead of a condition
 */
export function parseRequirement(text: string, extras: readonly string[] = []): Requirement | undefined {
  const [, project, wanted = '', conditions = '', marker] = REQUIREMENT.exec(text.trim()) ?? [];
  if (!project) throw new DataError(`'${text.slice(0, 100)}' is no requirement of a Python package`);
  if (marker && !new Marker(marker, extras).holds()) return undefined;
  return {
    project: normalisedName(project),
    extras: wanted.split(',').map(normalisedName).filter(Boolean),
    specifiers: parseSpecifiers(conditions.replace(/^\(|\)$/g, '')),
  };
}

const MACHINES: Readonly<Record<string, string>> = { x64: 'x86_64', arm64: 'aarch64' };

/** The values of markers. Python itself has none: no package is run. */
const ENVIRONMENT: Readonly<Record<string, string>> = {
  sys_platform: process.platform,
  os_name: 'posix',
  platform_system: process.platform === 'darwin' ? 'Darwin' : 'Linux',
  platform_machine: process.platform === 'darwin' ? process.arch : (MACHINES[process.arch] ?? process.arch),
  platform_python_implementation: 'CPython',
  implementation_name: 'cpython',
  python_version: '3.13',
  python_full_version: '3.13.0',
};

const TOKEN = /\s*(?:(\(|\)|===|==|~=|!=|<=|>=|<|>)|"([^"]*)"|'([^']*)'|([a-z_]+))/iy;

/** The condition behind a requirement's semicolon. */
class Marker {
  readonly #tokens: { word?: string; value?: string }[] = [];
  readonly #extras: readonly string[];
  readonly #text: string;
  #at = 0;

  constructor(text: string, extras: readonly string[]) {
    this.#text = text;
    this.#extras = extras;
    const source = text.trim();
    TOKEN.lastIndex = 0;
    while (TOKEN.lastIndex < source.length) {
      const found = TOKEN.exec(source);
      if (!found) this.#fail();
      const [, sign, double, single, word] = found!;
      this.#tokens.push(
        double !== undefined || single !== undefined ? { value: double ?? single } : { word: sign ?? word },
      );
    }
  }

  holds(): boolean {
    const result = this.#either();
    if (this.#at < this.#tokens.length) this.#fail();
    return result;
  }

  #either(): boolean {
    let result = this.#both();
    while (this.#take('or')) result = this.#both() || result;
    return result;
  }

  #both(): boolean {
    let result = this.#single();
    while (this.#take('and')) result = this.#single() && result;
    return result;
  }

  #single(): boolean {
    if (this.#take('(')) {
      const inner = this.#either();
      return this.#take(')') ? inner : this.#fail();
    }
    const left = this.#next();
    const negated = this.#take('not');
    const operator = this.#next().word ?? this.#fail();
    const right = this.#next();
    if (left.word === 'extra' || right.word === 'extra') {
      const name = normalisedName((left.value ?? right.value) || this.#fail());
      return this.#extras.includes(name) === (operator === '==');
    }
    const [a, b] = [left, right].map(({ word, value }) => value ?? ENVIRONMENT[word ?? ''] ?? this.#fail());
    if (operator === 'in') return b.includes(a) !== negated;
    return compared(a, operator, b);
  }

  #next(): { word?: string; value?: string } {
    return this.#tokens[this.#at++] ?? this.#fail();
  }

  #take(word: string): boolean {
    if (this.#tokens[this.#at]?.word !== word) return false;
    this.#at++;
    return true;
  }

  #fail(): never {
    throw new DataError(`'${this.#text.slice(0, 100)}' is no marker of a requirement`);
  }
}

/** Compares versions by their numbers, and other texts by their letters. */
function compared(a: string, operator: string, b: string): boolean {
  const order = new Intl.Collator('en', { numeric: true }).compare(a, b);
  const outcomes: Record<string, boolean> = {
    ...{ '==': a === b, '===': a === b, '!=': a !== b, '<': order < 0, '>': order > 0 },
    ...{ '<=': order <= 0, '>=': order >= 0, '~=': order >= 0 },
  };
  return outcomes[operator] ?? false;
}
