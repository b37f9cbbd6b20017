/**
 * Event files of TensorBoard: records as TensorFlow frames them (length, masked CRC-32C of it, data, masked CRC-32C of
 * that), each an Event of tensorflow/core/util/event.proto with values of tensorflow/core/framework/summary.proto.
 */
import { crc32c } from '../files/crc32.js';
import { ProtobufWriter } from './protobuf.js';

/** What can stand at one step: curves' points, pictures, texts. */
export interface EventValues {
  /** Seconds since 1970. */
  wallTime: number;
  step: number;
  scalars?: ReadonlyMap<string, number>;
  /** A PNG with its sides in pixels. */
  pictures?: ReadonlyMap<string, { png: Uint8Array; width: number; height: number }>;
  /** Markdown. */
  texts?: ReadonlyMap<string, string>;
}

export const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 } as const;
export const SUMMARY = { value: 1 } as const;
export const VALUE = { tag: 1, simpleValue: 2, image: 4, tensor: 8, metadata: 9 } as const;
const IMAGE = { height: 1, width: 2, colourspace: 3, png: 4 } as const;
const RGB = 3;
const METADATA = { plugin: 1 } as const;
const PLUGIN = { name: 1 } as const;
const TENSOR = { dtype: 1, shape: 2, strings: 8 } as const;
const SHAPE = { dim: 2 } as const;
const DIM = { size: 1 } as const;
const DT_STRING = 7;

/** The record with which every event file begins. */
export const fileVersionRecord = (wallTime: number): Buffer =>
  record((event) => {
    event.double(EVENT.wallTime, wallTime);
    event.string(EVENT.fileVersion, 'brain.Event:2');
  });

/** A record of what stands at one step. */
export function eventRecord({ wallTime, step, scalars, pictures, texts }: EventValues): Buffer {
  return record((event) => {
    event.double(EVENT.wallTime, wallTime);
    event.integer(EVENT.step, step);
    event.message(EVENT.summary, (summary) => {
      for (const [tag, number] of scalars ?? []) {
        summary.message(SUMMARY.value, (value) => {
          value.string(VALUE.tag, tag);
          value.float(VALUE.simpleValue, number);
        });
      }
      for (const [tag, picture] of pictures ?? []) writePicture(summary, tag, picture);
      for (const [tag, text] of texts ?? []) writeText(summary, tag, text);
    });
  });
}

function writePicture(
  summary: ProtobufWriter,
  tag: string,
  { png, width, height }: { png: Uint8Array; width: number; height: number },
): void {
  summary.message(SUMMARY.value, (value) => {
    value.string(VALUE.tag, tag);
    value.message(VALUE.image, (image) => {
      image.integer(IMAGE.height, height);
      image.integer(IMAGE.width, width);
      image.integer(IMAGE.colourspace, RGB);
      image.bytes(IMAGE.png, png);
    });
  });
}

function writeText(summary: ProtobufWriter, tag: string, text: string): void {
  summary.message(SUMMARY.value, (value) => {
    value.string(VALUE.tag, tag);
    value.message(VALUE.tensor, (tensor) => {
      tensor.integer(TENSOR.dtype, DT_STRING);
      tensor.message(TENSOR.shape, (shape) => shape.message(SHAPE.dim, (dim) => dim.integer(DIM.size, 1)));
      tensor.string(TENSOR.strings, text);
    });
    value.message(VALUE.metadata, (metadata) => {
      metadata.message(METADATA.plugin, (plugin) => plugin.string(PLUGIN.name, 'text'));
    });
  });
}

/** Of TensorFlow's record format: a CRC of data that holds CRCs would be weak, so it is rotated and shifted. */
export const maskedCrc = (bytes: Uint8Array): number => {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
};

function record(write: (event: ProtobufWriter) => void): Buffer {
  const event = new ProtobufWriter();
  write(event);
  const data = event.finish();
  const whole = Buffer.alloc(8 + 4 + data.length + 4);
  whole.writeBigUInt64LE(BigInt(data.length), 0);
  whole.writeUInt32LE(maskedCrc(whole.subarray(0, 8)), 8);
  whole.set(data, 12);
  whole.writeUInt32LE(maskedCrc(data), 12 + data.length);
  return whole;
}
