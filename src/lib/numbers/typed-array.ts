/** The host representations of a tensor's elements, and the few helpers on shapes that every floor needs. */

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Int8Array
  | Int16Array
  | BigInt64Array;

/** Number of elements of a tensor of this shape (1 for a scalar). */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, dim) => product * dim, 1);

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((dim, axis) => dim === b[axis]);

/** `[8, 4, 32, 32]`, as shapes are written in messages. */
export const showShape = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** The shape of tensors [n, ...] that differ in n alone, one after another along that axis. */
export const stackedShape = (shapes: readonly (readonly number[])[]): number[] => [
  shapes.reduce((rows, [own]) => rows + own, 0),
  ...shapes[0].slice(1),
];

/** The bytes that a typed array looks at, without a copy. */
export const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

type Joinable = Float32Array | Float64Array | Int32Array;

/** The parts one after the other, in one new array of this type. */
export function concatenated<T extends Joinable>(parts: readonly Joinable[], Type: new (length: number) => T): T {
  const whole = new Type(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** The same of f32, each part let go as it is copied: there may be gigabytes of them. `parts` ends empty. */
export function drained(parts: Float32Array[]): Float32Array<ArrayBuffer> {
  const whole = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (let part = parts.shift(); part; part = parts.shift()) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** Rows of `a` and `b`, side by side: [rows, A] and [rows, B] to [rows, A + B]. */
export function joinRows(a: Float32Array, b: Float32Array, rows: number): Float32Array<ArrayBuffer> {
  const [first, second] = [a.length / rows, b.length / rows];
  const joined = new Float32Array(a.length + b.length);
  for (let row = 0; row < rows; row++) {
    joined.set(a.subarray(row * first, (row + 1) * first), row * (first + second));
    joined.set(b.subarray(row * second, (row + 1) * second), row * (first + second) + first);
  }
  return joined;
}

/** Values that follow themselves `times` times. */
export function repeated(values: Float32Array, times: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(values.length * times);
  for (let i = 0; i < times; i++) out.set(values, i * values.length);
  return out;
}
