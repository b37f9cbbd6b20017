/**
 * A pickle machine that cannot run anything: it builds numbers, texts, lists and dictionaries, and asks the caller
 * about every global by name. A global that the caller refuses, or an unknown opcode, ends the reading before anything
 * is made of it. Opcodes: Python's `pickletools`; the subset is what torch.save writes with protocols 2 to 4.
 */
import { DataError } from '../errors.js';
import { PickleCursor, type PickleSource } from './pickle-cursor.js';

/** A dictionary has no prototype, so that no key of a file can reach one. */
export type PickleDict = Record<string, unknown>;

/** What a global of the file stands for: a plain value, or something that is called and built by functions of ours. */
export type PickleGlobal = { value: unknown } | PickleCallable;

export interface PickleCallable {
  call(args: readonly unknown[]): unknown;
  /** Gives an object made by `call` its state. */
  build?(instance: object, state: unknown): void;
}

export interface PickleOptions {
  /** Names the file in messages. */
  where: string;
  /** The meaning of `module name`, or undefined to refuse it. */
  findGlobal(name: string): PickleGlobal | undefined;
  /** Resolves a persistent id, which is how torch refers to storages. */
  persistentLoad(id: unknown): unknown;
}

export const newDict = (): PickleDict => Object.create(null) as PickleDict;

/** Marks what stands for an object of an unknown class. */
const FOREIGN = Symbol('foreign');

/**
 * What stands for an object of a class `name` that is not known: a dictionary of the fields and items that the pickle
 * gives it. Nothing that would make the real one is run.
 */
export const foreignObject = (name: string): PickleDict => Object.assign(newDict(), { [FOREIGN]: name });

/** The class that a value stands for, if that is not known here. */
export const foreignName = (value: unknown): string | undefined =>
  isDict(value) ? (value as { [FOREIGN]?: string })[FOREIGN] : undefined;

/**
 * Reads one pickle from `offset`.
 * @returns the object, and where the next byte after the pickle is.
 * @throws DataError when the pickle is damaged, or asks for a global or an opcode that is not allowed.
 */
export function unpickle(source: PickleSource, options: PickleOptions, offset = 0): { value: unknown; end: number } {
  const machine = new Machine(new PickleCursor(source, offset, options.where), options);
  return { value: machine.run(), end: machine.cursor.position };
}

const MARK = Symbol('mark');

/**
 * Steps of one pickle, and items that its calls are given: each takes memory or time, and the largest checkpoints have
 * some hundred thousand. A few bytes can be unpacked to many.
 */
const MOST_STEPS = 2 ** 22;
/** Characters of a text that a call is given, which count as one step. */
const TEXT_OF_A_STEP = 64;

/** Opcodes that are known and refused, for the message. */
const REFUSED: Record<string, string> = {
  i: 'INST',
  o: 'OBJ',
  P: 'PERSID',
  I: 'INT',
  L: 'LONG',
  F: 'FLOAT',
  S: 'STRING',
  V: 'UNICODE',
  p: 'PUT',
  g: 'GET',
  l: 'LIST',
  d: 'DICT',
  '\x82': 'EXT1',
  '\x83': 'EXT2',
  '\x84': 'EXT4',
  '\x96': 'BYTEARRAY8',
  '\x97': 'NEXT_BUFFER',
  '\x98': 'READONLY_BUFFER',
};

class Machine {
  readonly cursor: PickleCursor;
  readonly #options: PickleOptions;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  readonly #makers = new Map<unknown, PickleCallable>();
  #steps = 0;

  constructor(cursor: PickleCursor, options: PickleOptions) {
    this.cursor = cursor;
    this.#options = options;
  }

  run(): unknown {
    for (;;) {
      const at = this.cursor.position;
      const opcode = String.fromCharCode(this.cursor.byte());
      if (opcode === '.') return this.pop();
      this.charge(1);
      const step = STEPS[opcode];
      if (!step) throw this.refused(`opcode ${REFUSED[opcode] ?? `0x${opcode.charCodeAt(0).toString(16)}`}`, at);
      step(this, this.cursor);
    }
  }

  refused(what: string, at = this.cursor.position): DataError {
    return new DataError(
      `${this.#options.where}: ${what} in the pickle, at byte ${at}, is not allowed`,
      'Only tensors and plain values are read from a checkpoint: save the state dict alone, or as safetensors.',
    );
  }

  /** Counts steps, of which a pickle has so many and no more. */
  charge(steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw this.damaged(`more than ${MOST_STEPS} steps`);
  }

  damaged(what: string): DataError {
    return new DataError(`${this.#options.where}: damaged pickle at byte ${this.cursor.position}: ${what}`);
  }

  push(value: unknown): void {
    this.#stack.push(value);
  }

  pop(): unknown {
    if (this.#stack.length === 0 || this.#stack.at(-1) === MARK) throw this.damaged('it takes from an empty stack');
    return this.#stack.pop();
  }

  peek(): unknown {
    const value = this.pop();
    this.push(value);
    return value;
  }

  /** Everything above the last mark, which goes too. */
  popMark(): unknown[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw this.damaged('no mark on the stack');
    const values = this.#stack.splice(mark);
    return values.slice(1);
  }

  popTuple(length: number): void {
    const values = Array.from({ length }, () => this.pop()).reverse();
    this.push(values);
  }

  memoize(index: number): void {
    this.#memo.set(index, this.peek());
  }

  memoizeNext(): void {
    this.memoize(this.#memo.size);
  }

  recall(index: number): void {
    if (!this.#memo.has(index)) throw this.damaged(`no object number ${index}`);
    this.push(this.#memo.get(index));
  }

  append(values: readonly unknown[]): void {
    const list = this.peek();
    if (foreignName(list) !== undefined) return;
    if (!Array.isArray(list)) throw this.damaged('it appends to what is not a list');
    for (const value of values) list.push(value);
  }

  setItems(items: readonly unknown[]): void {
    const dict = this.peek();
    if (!isDict(dict) || items.length % 2 !== 0) throw this.damaged('it sets items of what is not a dictionary');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      // Nothing that is looked for here has a key of another kind.
      if (typeof key === 'string' || typeof key === 'number') dict[String(key)] = items[i + 1];
    }
  }

  global(module: unknown, name: unknown): void {
    if (typeof module !== 'string' || typeof name !== 'string') throw this.damaged('a global that is not a name');
    const found = this.#options.findGlobal(`${module} ${name}`);
    if (!found) throw this.refused(`'${module}.${name}'`);
    this.push('value' in found ? found.value : found);
  }

  reduce(): void {
    const args = this.pop();
    const callable = this.pop();
    const foreign = foreignName(callable);
    if (foreign !== undefined) {
      this.push(foreignObject(foreign));
      return;
    }
    if (!isCallable(callable) || !Array.isArray(args)) throw this.refused('a call of what cannot be called');
    for (const value of args) this.charge(sizeOf(value));
    const made = callable.call(args);
    if (typeof made === 'object' && made !== null) this.#makers.set(made, callable);
    this.push(made);
  }

  build(): void {
    const state = this.pop();
    const instance = this.peek();
    if (foreignName(instance) !== undefined) {
      this.#giveFields(instance as PickleDict, state);
      return;
    }
    const build = this.#makers.get(instance)?.build;
    if (!build) throw this.refused('a state for an object that has none');
    this.charge(sizeOf(state));
    build(instance as object, state);
  }

  /** A state is a dictionary of fields, or a pair of them: those of the object, and of its slots. */
  #giveFields(instance: PickleDict, state: unknown): void {
    const parts = Array.isArray(state) && state.length === 2 ? state : [state];
    for (const part of parts.filter(isDict)) {
      this.charge(sizeOf(part));
      for (const [name, value] of Object.entries(part)) instance[name] = value;
    }
  }

  persistent(): void {
    this.push(this.#options.persistentLoad(this.pop()));
  }
}

/** Whether a value of a pickle is a dictionary (and not a list, a tensor or a text). */
export const isDict = (value: unknown): value is PickleDict =>
  typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;

/** What it costs to go through a value, in steps. */
function sizeOf(value: unknown): number {
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'string' || value instanceof Uint8Array) return Math.floor(value.length / TEXT_OF_A_STEP);
  return isDict(value) ? Object.keys(value).length : 0;
}

/** A value of a pickle for a message: a text or a number as it is, of anything else what it is. */
export const showPlain = (value: unknown): string => {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  const isWord = value === null || ['number', 'boolean', 'bigint', 'undefined'].includes(typeof value);
  if (isWord) return String(value);
  return Array.isArray(value) ? 'a list' : 'an object';
};

const isCallable = (value: unknown): value is PickleCallable =>
  typeof value === 'object' && value !== null && typeof (value as PickleCallable).call === 'function';

/** One function an opcode, by its character. */
const STEPS: Record<string, (machine: Machine, cursor: PickleCursor) => void> = {
  // Framing, stack and memo
  '\x80': (_, c) => void c.byte(), // PROTO
  '\x95': (_, c) => void c.bytes(8), // FRAME
  '(': (m) => m.push(MARK),
  '0': (m) => void m.pop(),
  '1': (m) => void m.popMark(),
  '2': (m) => m.push(m.peek()),
  q: (m, c) => m.memoize(c.byte()), // BINPUT
  r: (m, c) => m.memoize(c.uint32()), // LONG_BINPUT
  '\x94': (m) => m.memoizeNext(), // MEMOIZE
  h: (m, c) => m.recall(c.byte()), // BINGET
  j: (m, c) => m.recall(c.uint32()), // LONG_BINGET
  // Values
  N: (m) => m.push(null),
  '\x88': (m) => m.push(true),
  '\x89': (m) => m.push(false),
  J: (m, c) => m.push(c.int32()), // BININT
  K: (m, c) => m.push(c.byte()), // BININT1
  M: (m, c) => m.push(c.uint16()), // BININT2
  '\x8a': (m, c) => m.push(c.integer(c.byte())), // LONG1
  '\x8b': (m, c) => m.push(c.integer(c.uint32())), // LONG4
  G: (m, c) => m.push(c.float64()), // BINFLOAT
  X: (m, c) => m.push(c.text(c.uint32())), // BINUNICODE
  '\x8c': (m, c) => m.push(c.text(c.byte())), // SHORT_BINUNICODE
  '\x8d': (m, c) => m.push(c.text(c.uint64())), // BINUNICODE8
  T: (m, c) => m.push(c.text(c.uint32())), // BINSTRING, of Python 2
  U: (m, c) => m.push(c.text(c.byte())), // SHORT_BINSTRING, of Python 2
  B: (m, c) => m.push(c.bytes(c.uint32()).slice()), // BINBYTES
  C: (m, c) => m.push(c.bytes(c.byte()).slice()), // SHORT_BINBYTES
  '\x8e': (m, c) => m.push(c.bytes(c.uint64()).slice()), // BINBYTES8
  // Containers; sets and tuples become lists
  ']': (m) => m.push([]),
  '\x8f': (m) => m.push([]), // EMPTY_SET
  a: (m) => {
    const value = m.pop();
    m.append([value]);
  },
  e: (m) => m.append(m.popMark()), // APPENDS
  '\x90': (m) => m.append(m.popMark()), // ADDITEMS
  ')': (m) => m.push([]),
  t: (m) => m.push(m.popMark()), // TUPLE
  '\x91': (m) => m.push(m.popMark()), // FROZENSET
  '\x85': (m) => m.popTuple(1),
  '\x86': (m) => m.popTuple(2),
  '\x87': (m) => m.popTuple(3),
  '}': (m) => m.push(newDict()),
  s: (m) => {
    const value = m.pop();
    const key = m.pop();
    m.setItems([key, value]);
  },
  u: (m) => m.setItems(m.popMark()), // SETITEMS
  // Globals and what is made with them
  c: (m, c) => m.global(c.line(), c.line()), // GLOBAL
  '\x93': (m) => {
    const name = m.pop();
    m.global(m.pop(), name);
  },
  R: (m) => m.reduce(),
  '\x81': (m) => m.reduce(), // NEWOBJ
  '\x92': (m) => {
    m.pop(); // arguments by name, which only foreign classes take
    m.reduce();
  }, // NEWOBJ_EX
  b: (m) => m.build(),
  Q: (m) => m.persistent(), // BINPERSID
};
