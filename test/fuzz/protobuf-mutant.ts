/** Changes of protocol buffers that leave them such: the wire format tells fields and nesting, whatever they mean. */
import { below, mutant, pick, type Random } from './mutate.js';

interface Field {
  /** The number of the field and the kind of its value, as they are written. */
  readonly tag: bigint;
  value: bigint | Buffer | Field[];
}

const VARINT = 0n;
const FIXED64 = 1n;
const BYTES = 2n;
const FIXED32 = 5n;
const DEEPEST = 8;

const NUMBERS = [0n, 1n, 2n, 7n, 127n, 65_535n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n, 2n ** 63n - 1n, 2n ** 64n - 1n];

function varint(bytes: Buffer, at: number): [value: bigint, next: number] | undefined {
  let value = 0n;
  for (let i = 0; i < 10 && at + i < bytes.length; i++) {
    value |= BigInt(bytes[at + i] & 0x7f) << BigInt(7 * i);
    if (bytes[at + i] < 0x80) return [value, at + i + 1];
  }
  return undefined;
}

/** The fields of a message; undefined for bytes that are none. */
function parse(bytes: Buffer, depth = 0): Field[] | undefined {
  const fields: Field[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    if (!tag || tag[0] >> 3n === 0n || tag[0] > 2000n) return undefined;
    const wire = tag[0] & 7n;
    const fixed = wire === FIXED64 ? 8 : wire === FIXED32 ? 4 : 0;
    const number = fixed > 0 ? undefined : varint(bytes, tag[1]);
    if (fixed === 0 && (!number || (wire !== VARINT && wire !== BYTES))) return undefined;
    const start = number?.[1] ?? tag[1];
    const end = wire === BYTES ? start + Number(number![0]) : start + fixed;
    if (end > bytes.length) return undefined;
    const content = bytes.subarray(start, end);
    const nested = wire === BYTES && content.length > 1 && depth < DEEPEST ? parse(content, depth + 1) : undefined;
    fields.push({ tag: tag[0], value: wire === VARINT ? number![0] : (nested ?? content) });
    at = end;
  }
  return fields;
}

function written(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

function encode(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ tag, value }) => {
      if (typeof value === 'bigint') return [written(tag), written(value)];
      const content = Array.isArray(value) ? encode(value) : value;
      return (tag & 7n) === BYTES ? [written(tag), written(BigInt(content.length)), content] : [written(tag), content];
    }),
  );
}

/** All messages in a message, itself too. */
const messages = (fields: Field[]): Field[][] => [
  fields,
  ...fields.flatMap(({ value }) => (Array.isArray(value) ? messages(value) : [])),
];

const copyOf = ({ tag, value }: Field): Field => ({ tag, value: Array.isArray(value) ? value.map(copyOf) : value });

function change(root: Field[], random: Random): void {
  const all = messages(root).filter((fields) => fields.length > 0);
  if (all.length === 0) return;
  const fields = pick(random, all);
  const at = below(random, fields.length);
  const field = fields[at];
  const what = below(random, 6);
  if (what === 0) fields.splice(at, 1);
  else if (what === 1) fields.splice(at, 0, copyOf(field));
  else if (what === 2) fields.splice(at, 1, copyOf(pick(random, pick(random, all))));
  else if (typeof field.value === 'bigint') field.value = pick(random, NUMBERS);
  else if (!Array.isArray(field.value)) field.value = mutant(field.value, random);
  else fields.push(copyOf(pick(random, field.value) ?? field));
}

/** One to three changes of fields. */
export function protobufMutant(good: Buffer, random: Random): Buffer {
  const fields = parse(good)!;
  for (let left = 1 + below(random, 3); left > 0; left--) change(fields, random);
  return encode(fields);
}
