/** Reads event files of TensorBoard, by any program. */
import { DataError } from '../errors.js';
import { BinaryFile } from './binary-file.js';
import { type ProtobufField, protobufFields } from './protobuf-fields.js';
import { EVENT, maskedCrc, SUMMARY, VALUE } from './tfevents.js';

/** One value of a step. */
export interface EventValue {
  readonly tag: string;
  /** The number; undefined for a picture, a text, or anything else. */
  readonly scalar: number | undefined;
}

export interface EventRecord {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly values: readonly EventValue[];
}

/** A length and its CRC before the data, the CRC of it behind. */
const HEAD = 12;
const TAIL = 4;
const LARGEST = 2 ** 28;
const DT_FLOAT = 1;
const TENSOR = { dtype: 1, content: 4, floats: 5 } as const;

/**
 * The records of a file in order. Half a record at its end, of a program that is still writing, ends them.
 * @throws DataError when it is no event file, or damaged
 */
export function* readEvents(path: string): Generator<EventRecord> {
  const file = new BinaryFile(path);
  try {
    for (let at = 0; at + HEAD <= file.size; ) {
      const head = Buffer.from(file.read(at, HEAD).buffer);
      if (head.readUInt32LE(8) !== maskedCrc(head.subarray(0, 8))) {
        throw new DataError(`${path}: no event file of TensorBoard, or damaged at byte ${at}`);
      }
      const length = Number(head.readBigUInt64LE(0));
      if (length > LARGEST) throw new DataError(`${path}: a record of ${length} bytes at byte ${at}`);
      if (at + HEAD + length + TAIL > file.size) return;
      const data = file.read(at + HEAD, length);
      const crc = Buffer.from(file.read(at + HEAD + length, TAIL).buffer).readUInt32LE(0);
      if (crc !== maskedCrc(data)) throw new DataError(`${path}: damaged at byte ${at + HEAD}: its CRC does not match`);
      yield parseEvent(data, path);
      at += HEAD + length + TAIL;
    }
  } finally {
    file.close();
  }
}

function parseEvent(data: Uint8Array, where: string): EventRecord {
  let [wallTime, step] = [0, 0];
  const values: EventValue[] = [];
  for (const found of protobufFields(data, where)) {
    if (found.field === EVENT.wallTime && found.wire === 1) wallTime = found.bytes.readDoubleLE(0);
    else if (found.field === EVENT.step && found.wire === 0) step = Number(BigInt.asIntN(64, found.value));
    else if (found.field === EVENT.summary && found.wire === 2) {
      for (const inner of protobufFields(found.bytes, where)) {
        if (inner.field === SUMMARY.value && inner.wire === 2) values.push(parseValue(inner.bytes, where));
      }
    }
  }
  return { wallTime, step, values };
}

function parseValue(bytes: Buffer, where: string): EventValue {
  let tag = '';
  let scalar: number | undefined;
  for (const found of protobufFields(bytes, where)) {
    if (found.field === VALUE.tag && found.wire === 2) tag = found.bytes.toString('utf8');
    else if (found.field === VALUE.simpleValue && found.wire === 5) scalar = found.bytes.readFloatLE(0);
    else if (found.field === VALUE.tensor && found.wire === 2)
      scalar = scalarOf([...protobufFields(found.bytes, where)]);
  }
  return { tag, scalar };
}

/** A tensor of one float, as TensorFlow 2 writes scalars. */
function scalarOf(tensor: readonly ProtobufField[]): number | undefined {
  const isFloat = tensor.some(
    (found) => found.field === TENSOR.dtype && found.wire === 0 && Number(found.value) === DT_FLOAT,
  );
  const found = tensor.find(({ field }) => field === TENSOR.content || field === TENSOR.floats);
  return isFloat && found && found.wire !== 0 && found.bytes.length === 4 ? found.bytes.readFloatLE(0) : undefined;
}
