/** Pickles of plain values and what a caller builds of them, as protocol 2, which every Python 3 reads. */

/**
 * `null`, booleans, numbers (whole ones become int, others float), texts, arrays (list), `Tuple`, Maps and plain
 * objects (dict), and calls of importable functions.
 */
export type Picklable =
  | null
  | boolean
  | number
  | string
  | Tuple
  | Call
  | Persistent
  | readonly Picklable[]
  | ReadonlyMap<string | number, Picklable>
  | { readonly [key: string]: Picklable };

export class Tuple {
  constructor(readonly items: readonly Picklable[]) {}
}

/** What Python makes by calling `module.name` with these arguments. */
export class Call {
  constructor(
    readonly module: string,
    readonly name: string,
    readonly args: readonly Picklable[],
  ) {}
}

/** A global itself, such as a class. */
export class Global {
  constructor(
    readonly module: string,
    readonly name: string,
  ) {}
}

/** What the reader resolves by an identifier; torch refers to storages so. */
export class Persistent {
  constructor(readonly id: readonly (Picklable | Global)[]) {}
}

const encoder = new TextEncoder();

export function encodePickle(value: Picklable): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [Uint8Array.of(0x80, 2)]; // PROTO 2
  write(value, chunks);
  chunks.push(opcode('.'));
  return new Uint8Array(Buffer.concat(chunks));
}

const opcode = (text: string): Uint8Array => Buffer.from(text, 'latin1');

function write(value: Picklable | Global, out: Uint8Array[]): void {
  if (value === null) out.push(opcode('N'));
  else if (typeof value === 'boolean') out.push(opcode(value ? '\x88' : '\x89'));
  else if (typeof value === 'number') out.push(encodeNumber(value));
  else if (typeof value === 'string') out.push(encodeText(value));
  else if (value instanceof Global) out.push(opcode(`c${value.module}\n${value.name}\n`));
  else if (value instanceof Tuple) writeTuple(value.items, out);
  else if (value instanceof Persistent) {
    writeTuple(value.id, out);
    out.push(opcode('Q')); // BINPERSID
  } else if (value instanceof Call) {
    write(new Global(value.module, value.name), out);
    writeTuple(value.args, out);
    out.push(opcode('R')); // REDUCE
  } else if (isList(value)) {
    out.push(opcode(']('));
    for (const item of value) write(item, out);
    out.push(opcode('e')); // APPENDS
  } else {
    out.push(opcode('}('));
    for (const [key, item] of value instanceof Map ? value : Object.entries(value)) {
      write(key, out);
      write(item, out);
    }
    out.push(opcode('u')); // SETITEMS
  }
}

const isList = (value: object): value is readonly Picklable[] => Array.isArray(value);

function writeTuple(items: readonly (Picklable | Global)[], out: Uint8Array[]): void {
  out.push(opcode('('));
  for (const item of items) write(item, out);
  out.push(opcode('t'));
}

function encodeNumber(value: number): Uint8Array {
  const bytes = Buffer.alloc(9);
  if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
    bytes.write('J', 'latin1'); // BININT
    bytes.writeInt32LE(value, 1);
    return bytes.subarray(0, 5);
  }
  if (Number.isSafeInteger(value)) {
    const long = Buffer.alloc(10);
    long.set([0x8a, 8]); // LONG1 of 8 bytes
    long.writeBigInt64LE(BigInt(value), 2);
    return long;
  }
  bytes.write('G', 'latin1'); // BINFLOAT
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function encodeText(text: string): Uint8Array {
  const utf8 = encoder.encode(text);
  const out = Buffer.alloc(5 + utf8.length);
  out.write('X', 'latin1'); // BINUNICODE
  out.writeUInt32LE(utf8.length, 1);
  out.set(utf8, 5);
  return out;
}
