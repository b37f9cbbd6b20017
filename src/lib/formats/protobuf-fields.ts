/**
 * The fields of a protocol-buffer message, as they follow each other (wire format of
 * protobuf.dev/programming-guides/encoding).
 */
import { DataError } from '../errors.js';

/**
 * A field: of wire type 0 a number, of 2 the bytes of a text, a message or packed numbers, of 1 and 5 the bytes of a
 * number.
 */
export type ProtobufField =
  | { readonly field: number; readonly wire: 0; readonly value: bigint }
  | { readonly field: number; readonly wire: 1 | 2 | 5; readonly bytes: Buffer };

const LONGEST_VARINT = 10;

/** Where reading stands in a message. */
class Cursor {
  readonly #bytes: Buffer;
  readonly #where: string;
  #at = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  varint(): bigint {
    let value = 0n;
    for (let i = 0; i < LONGEST_VARINT; i++) {
      const [byte] = this.take(1);
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    return this.fail('a number without end');
  }

  take(length: number): Buffer {
    const left = this.#bytes.length - this.#at;
    if (length > left) this.fail(`${length} bytes are due where ${left} are left`);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  fail(what: string): never {
    throw new DataError(`${this.#where}: no protocol-buffer message: ${what} at byte ${this.#at}`);
  }
}

/**
 * @param where names the message in errors
 * @throws DataError when it is cut, or no message
 */
export function* protobufFields(message: Uint8Array, where: string): Generator<ProtobufField> {
  const cursor = new Cursor(message, where);
  while (!cursor.atEnd) {
    const tag = Number(cursor.varint());
    const [field, wire] = [Math.floor(tag / 8), tag % 8];
    if (field === 0) cursor.fail('a field 0');
    if (wire === 0) yield { field, wire, value: cursor.varint() };
    else if (wire === 1) yield { field, wire, bytes: cursor.take(8) };
    else if (wire === 2) yield { field, wire, bytes: cursor.take(Number(cursor.varint())) };
    else if (wire === 5) yield { field, wire, bytes: cursor.take(4) };
    else cursor.fail(`a field of wire type ${wire}`);
  }
}

/** The numbers of a repeated field of varints, of which each field holds one, or several packed. */
export function* varintsOf(found: ProtobufField, where: string): Generator<bigint> {
  if (found.wire === 0) {
    yield found.value;
    return;
  }
  const cursor = new Cursor(found.bytes, where);
  while (!cursor.atEnd) yield cursor.varint();
}
