/**
 * The file of a run of Weights & Biases (.wandb), from which `wandb sync` uploads and which `wandb leet` shows: records
 * of wandb_internal.proto, framed as LevelDB frames its log, in blocks of 32 KiB, but that the file begins with seven
 * bytes of its own, and that the checksum is the CRC-32 of zip.
 */
import { crc32 } from '../files/crc32.js';
import { ProtobufWriter } from './protobuf.js';

const RECORD = { number: 1, history: 2, summary: 3, files: 6, run: 17, exit: 18, header: 21 } as const;
const HEADER = { versions: 1 } as const;
const VERSIONS = { producer: 1, oldestReader: 2 } as const;
const RUN = { id: 1, project: 3, config: 4, name: 8, start: 17 } as const;
const TIME = { seconds: 1, nanoseconds: 2 } as const;
/** Fields of a history, a summary, a configuration. */
const ITEMS = { item: 1 } as const;
const HISTORY = { step: 2 } as const;
const ITEM = { key: 1, nestedKey: 2, json: 16 } as const;
const STEP = { number: 1 } as const;
const FILES = { file: 1 } as const;
const FILE = { path: 1 } as const;
const EXIT = { code: 1, runtime: 2 } as const;

/** The oldest release that is to read the file, as the program itself writes it. */
const OLDEST_READER = '0.70.0';

export interface WandbRun {
  readonly id: string;
  readonly project: string;
  readonly name: string;
  /** Seconds since 1970. */
  readonly started: number;
  readonly config: Readonly<Record<string, unknown>>;
}

/** A file's records in order, framed. */
export class WandbFile {
  readonly #frames: Buffer[] = [Buffer.from([0x3a, 0x57, 0x26, 0x42, 0xe1, 0xbe, 0x00])]; // ':W&B', its number and version 0
  #length = 7;
  #records = 0;

  header(producer: string): void {
    this.#record(RECORD.header, (header) =>
      header.message(HEADER.versions, (versions) => {
        versions.string(VERSIONS.producer, producer);
        versions.string(VERSIONS.oldestReader, OLDEST_READER);
      }),
    );
  }

  run({ id, project, name, started, config }: WandbRun): void {
    this.#record(RECORD.run, (run) => {
      run.string(RUN.id, id);
      run.string(RUN.project, project);
      run.message(RUN.config, (all) => {
        for (const [key, value] of Object.entries(config)) {
          all.message(ITEMS.item, (item) => {
            item.string(ITEM.key, key);
            item.string(ITEM.json, JSON.stringify(value));
          });
        }
      });
      run.string(RUN.name, name);
      run.message(RUN.start, (time) => {
        time.integer(TIME.seconds, Math.floor(started));
        time.integer(TIME.nanoseconds, Math.floor((started % 1) * 1e9));
      });
    });
  }

  /** Adds the values of a step; a picture is an object that names a file of the run. */
  history(step: number, values: ReadonlyMap<string, unknown>): void {
    this.#record(RECORD.history, (history) => {
      for (const [key, value] of values) writeValue(history, [key], value);
      history.message(HISTORY.step, (at) => at.integer(STEP.number, step));
    });
  }

  /** Sets the values of the run as a whole: the newest. */
  summary(values: ReadonlyMap<string, unknown>): void {
    this.#record(RECORD.summary, (summary) => {
      for (const [key, value] of values) writeValue(summary, [key], value);
    });
  }

  /** Names a file below `files/`. */
  file(path: string): void {
    this.#record(RECORD.files, (files) => files.message(FILES.file, (file) => file.string(FILE.path, path)));
  }

  /** @param runtime in seconds */
  exit(runtime: number): void {
    this.#record(RECORD.exit, (exit) => {
      exit.integer(EXIT.code, 0);
      exit.integer(EXIT.runtime, Math.round(runtime));
    });
  }

  /** The file's bytes. */
  finish(): Buffer {
    return Buffer.concat(this.#frames, this.#length);
  }

  #record(field: number, write: (record: ProtobufWriter) => void): void {
    const record = new ProtobufWriter();
    record.integer(RECORD.number, ++this.#records);
    record.message(field, write);
    this.#frame(Buffer.from(record.finish().buffer));
  }

  /** Divides a record among blocks, each part with its checksum, length and kind. */
  #frame(data: Buffer): void {
    for (let at = 0, first = true; first || at < data.length; first = false) {
      let room = BLOCK - (this.#length % BLOCK);
      if (room < FRAME_HEAD) {
        this.#push(Buffer.alloc(room));
        room = BLOCK;
      }
      const part = data.subarray(at, at + room - FRAME_HEAD);
      at += part.length;
      const frame = Buffer.alloc(FRAME_HEAD + part.length);
      frame.writeUInt16LE(part.length, 4);
      frame[6] = kindOf(first, at === data.length);
      frame.set(part, FRAME_HEAD);
      frame.writeUInt32LE(crc32(frame.subarray(6)), 0);
      this.#push(frame);
    }
  }

  #push(bytes: Buffer): void {
    this.#frames.push(bytes);
    this.#length += bytes.length;
  }
}

const BLOCK = 32_768;
const FRAME_HEAD = 7;

/** Whole, first, middle or last part of a record. */
function kindOf(first: boolean, last: boolean): number {
  if (first) return last ? 1 : 2;
  return last ? 4 : 3;
}

/** A value in the summary or a history: of an object, an item for each of its fields. */
function writeValue(items: ProtobufWriter, keys: readonly string[], value: unknown): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) writeValue(items, [...keys, key], inner);
    return;
  }
  items.message(ITEMS.item, (item) => {
    for (const key of keys) item.string(ITEM.nestedKey, key);
    item.string(ITEM.json, JSON.stringify(value));
  });
}
