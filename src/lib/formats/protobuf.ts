/** A growing message of protocol-buffer fields (wire format of protobuf.dev/programming-guides/encoding). */

const WIRE = { varint: 0, fixed64: 1, lengthDelimited: 2, fixed32: 5 } as const;

/** Bytes from this length on stay where they are until the message is finished: weights are copied once. */
const LARGE = 4096;

export class ProtobufWriter {
  /** What comes before the buffer, in order. */
  readonly #parts: Uint8Array[] = [];
  #partsLength = 0;
  #buffer = Buffer.allocUnsafe(256);
  #length = 0;

  /** int32, int64 and enum fields. */
  integer(field: number, value: number): void {
    this.#tag(field, WIRE.varint);
    if (value >= 0) this.#varint(value);
    else this.#negativeVarint(value);
  }

  float(field: number, value: number): void {
    this.#tag(field, WIRE.fixed32);
    this.#reserve(4);
    this.#buffer.writeFloatLE(value, this.#length);
    this.#length += 4;
  }

  double(field: number, value: number): void {
    this.#tag(field, WIRE.fixed64);
    this.#reserve(8);
    this.#buffer.writeDoubleLE(value, this.#length);
    this.#length += 8;
  }

  string(field: number, value: string): void {
    this.bytes(field, Buffer.from(value, 'utf8'));
  }

  /** `value` must not change until the message is finished. */
  bytes(field: number, value: Uint8Array): void {
    this.#tag(field, WIRE.lengthDelimited);
    this.#varint(value.length);
    this.#append(value);
  }

  /** A nested message, filled in by `write`. */
  message(field: number, write: (nested: ProtobufWriter) => void): void {
    const nested = new ProtobufWriter();
    write(nested);
    this.#tag(field, WIRE.lengthDelimited);
    this.#varint(nested.#partsLength + nested.#length);
    for (const part of nested.#parts) this.#append(part);
    this.#append(nested.#buffer.subarray(0, nested.#length));
  }

  finish(): Uint8Array<ArrayBuffer> {
    this.#flush();
    const whole = new Uint8Array(this.#partsLength);
    let offset = 0;
    for (const part of this.#parts) {
      whole.set(part, offset);
      offset += part.length;
    }
    return whole;
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length >= LARGE) {
      this.#flush();
      this.#parts.push(bytes);
      this.#partsLength += bytes.length;
    } else {
      this.#reserve(bytes.length);
      this.#buffer.set(bytes, this.#length);
      this.#length += bytes.length;
    }
  }

  /** Makes what the buffer holds a part, and the rest of it the buffer. */
  #flush(): void {
    this.#parts.push(this.#buffer.subarray(0, this.#length));
    this.#partsLength += this.#length;
    this.#buffer = this.#buffer.subarray(this.#length);
    this.#length = 0;
  }

  #tag(field: number, wire: number): void {
    this.#varint(field * 8 + wire);
  }

  #varint(value: number): void {
    this.#reserve(10);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  #negativeVarint(value: number): void {
    this.#reserve(10);
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buffer[this.#length++] = Number(rest);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, needed));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
