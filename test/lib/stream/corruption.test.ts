import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { MessageHeader, MetadataVersion } from 'apache-arrow/enum';
import { BufferRegion, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message';
import { Field, Schema } from 'apache-arrow/schema';
import { Int32, Utf8 } from 'apache-arrow/type';
import fc from 'fast-check';
import { DataError } from '../../../src/lib/errors.js';
import { crc32, tableCrc32 } from '../../../src/lib/files/crc32.js';
import { firstLink } from '../../../src/lib/stream/chain.js';
import { END_OF_STREAM } from '../../../src/lib/stream/encode.js';
import { openTensorFile } from '../../../src/lib/stream/file.js';
import { temporaryFolder } from '../../support.js';
import { encode, encodeSmall, readRows } from './support.js';

const file = path.join(temporaryFolder(), 'stream');
const fd = fs.openSync(file, 'w'); // kept open: thousands of small files would be flushed to disk one by one
after(() => fs.closeSync(fd));

function store(bytes: Uint8Array): void {
  fs.writeSync(fd, bytes, 0, bytes.length, 0);
  fs.ftruncateSync(fd, bytes.length);
}

/** Fails unless reading these bytes is a DataError, whose message is returned. */
async function refusal(bytes: Uint8Array): Promise<string> {
  store(bytes);
  const outcome = await readRows(file).catch((error: unknown) => error);
  const anyOrder = await readInAnyOrder().catch((error: unknown) => error);
  assert.ok(anyOrder instanceof DataError, `in any order: read as ${JSON.stringify(anyOrder)}`);
  assert.ok(outcome instanceof DataError, `read as ${JSON.stringify(outcome)}`);
  assert.equal(outcome.exitCode, 65);
  assert.match(outcome.message, /at byte \d+/);
  return outcome.message;
}

/** All rows by the other reader, which judges as the one in sequence does. */
async function readInAnyOrder(): Promise<number> {
  const opened = await openTensorFile(file);
  try {
    return [...opened.inOrder()].length;
  } finally {
    opened.close();
  }
}

/** The messages of a stream, each with its body; the last is the end-of-stream marker. */
function messagesOf(stream: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const metadataBytes = stream.readInt32LE(at + 4);
    const metadata = stream.subarray(at + 8, at + 8 + metadataBytes);
    const end = at + 8 + metadataBytes + (metadataBytes ? Message.decode(metadata).bodyLength : 0);
    messages.push(stream.subarray(at, end));
    at = end;
  }
  return messages;
}

/** A message with the digits of its checksum as the checksum takes them. */
function blanked(message: Buffer): Buffer {
  const copy = Buffer.from(message);
  const at = copy.lastIndexOf('repa.crc32.head');
  // A string's bytes follow its length, and end in a zero byte: the value lies near its key, on either side.
  const digits = /[0-9a-f]{8}(?=\0)/.exec(copy.toString('latin1', Math.max(0, at - 40), at + 60))!;
  return copy.fill('0', Math.max(0, at - 40) + digits.index, Math.max(0, at - 40) + digits.index + 8);
}

/** Any message, framed, as another program would write it. */
function framed(message: Message, body = new Uint8Array(0)): Buffer {
  const metadata = Message.encode(message);
  const prefix = Buffer.alloc(8);
  prefix.writeInt32LE(-1, 0);
  prefix.writeInt32LE(Math.ceil(metadata.length / 8) * 8, 4);
  return Buffer.concat([prefix, metadata, Buffer.alloc(prefix.readInt32LE(4) - metadata.length), body]);
}

describe('a damaged stream', () => {
  let stream: Buffer;
  let messages: Buffer[];
  before(async () => {
    stream = await encodeSmall();
    messages = messagesOf(stream);
    assert.equal(messages.length, 4, 'a schema, two batches and the marker');
  });

  it('is refused when cut at any byte', async () => {
    for (let length = 0; length < stream.length; length++) await refusal(stream.subarray(0, length));
  });

  it('is refused when the second of two is cut', async () => {
    for (let length = 4; length < stream.length; length += 4) {
      await refusal(Buffer.concat([stream, stream.subarray(0, length)]));
    }
  });

  it('is refused when the first of two is cut at a message boundary', async () => {
    for (let kept = 1; kept < messages.length; kept++) {
      const message = await refusal(Buffer.concat([...messages.slice(0, kept), stream]));
      assert.match(message, /truncated: another stream begins after \d rows/);
    }
  });

  it('is refused with a bit flipped in any byte', async () => {
    // All bits of each byte are tried with random access, whose reading is synchronous and so much faster.
    const flipped = Buffer.from(stream);
    for (let at = 0; at < stream.length; at++) {
      flipped[at] ^= 1 << (at % 7);
      await refusal(flipped);
      flipped[at] = stream[at];
    }
  });

  it('is refused with any bytes overwritten', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(stream.length - 1), fc.uint8Array({ minLength: 1, maxLength: 24 }), async (at, bytes) => {
        const damaged = Buffer.from(stream);
        damaged.set(bytes.subarray(0, stream.length - at), at);
        if (!damaged.equals(stream)) await refusal(damaged);
      }),
      { numRuns: 500 },
    );
  });

  it('is refused with batches swapped, dropped or doubled', async () => {
    const [schema, first, last, end] = messages as [Buffer, Buffer, Buffer, Buffer];
    for (const order of [
      [schema, last, first, end],
      [schema, last, end],
      [schema, first, end],
      [schema, end],
      [schema, first, first, last, end],
      [schema, first, last, last, end],
      [schema, first, last, first, last, end],
      [schema, first, last],
      [first, last, end],
      [schema, schema, first, last, end],
      [schema, first, last, end, end],
      [schema, first, last, end, first],
    ]) {
      await refusal(Buffer.concat(order));
    }
  });

  it('is refused with a batch of another stream of the same columns, names and rows in its place', async () => {
    const { schema: like, rows } = await (async () => {
      store(stream);
      return readRows(file);
    })();
    const changed = rows.map((row) => ({ ...row, label: row.label + 10 }));
    const others = messagesOf(await encode(like, changed, 160));
    const renamed = messagesOf(await encode({ ...like, metadata: { ...like.metadata, 'repa.seed': '1' } }, rows, 160));
    for (const other of [others, renamed]) {
      for (let mixed = 1; mixed < 7; mixed++) {
        const pieces = messages.map((message, i) => ((mixed >> i) & 1 ? other[i] : message));
        const spliced = Buffer.concat(pieces);
        // Exchanging equal schemas changes nothing; exchanging all that differs leaves the other stream, whole.
        const isWhole = [messages, other].some((whole) => spliced.equals(Buffer.concat(whole)));
        if (isWhole) assert.ok(other === others);
        else await refusal(spliced);
      }
    }
    store(Buffer.concat(others));
    assert.deepEqual((await readRows(file)).rows, changed);
  });

  it('is refused when an empty batch has another checksum than its body', async () => {
    const [schema, batch, end] = messagesOf(await encode({ columns: [], metadata: {} }, []));
    const at = batch.lastIndexOf('repa.crc32\0');
    const digits = /[0-9a-f]{8}(?=\0)/.exec(batch.toString('latin1', at))!.index + at;
    assert.ok(at > 0 && digits > 0);
    batch.write('12345678', digits);
    await refusal(Buffer.concat([schema, batch, end]));
  });

  it('is refused with bytes after its end', async () => {
    await refusal(Buffer.concat([stream, Buffer.alloc(8)]));
    await refusal(Buffer.concat([stream, Buffer.from('\n')]));
  });

  it('says how far it was good', async () => {
    const message = await refusal(stream.subarray(0, stream.length - 8));
    assert.match(
      message,
      new RegExp(`truncated: the end-of-stream marker is missing, after 3 rows .at byte ${stream.length - 8}`),
    );
    const damaged = Buffer.from(stream);
    damaged[damaged.length - 9] ^= 1;
    assert.match(await refusal(damaged), /checksum mismatch in the tensors of rows 2-2/);
  });
});

describe('a hostile or foreign stream', () => {
  const fields = [new Field('key', new Utf8(), false), new Field('label', new Int32(), false)];
  const format = new Map([['repa.format', '1']]);
  const schemaMessage = (schema: Schema): Buffer =>
    framed(new Message(0, MetadataVersion.V5, MessageHeader.Schema, schema));

  it('is told what it lacks', async () => {
    const foreign = await refusal(Buffer.concat([schemaMessage(new Schema(fields)), END_OF_STREAM]));
    assert.match(foreign, /lacks the metadata 'repa\.format'/);
    const unlabelled = await refusal(schemaMessage(new Schema(fields.slice(0, 1), format)));
    assert.match(unlabelled, /lacks a second column 'label' of int32/);
    const nothing = await refusal(schemaMessage(new Schema([])));
    assert.match(nothing, /repa\.format.* and a first column 'key' of utf8 and a second column 'label'/);
    assert.match(
      await refusal(schemaMessage(new Schema(fields, new Map([['repa.format', '3']])))),
      /'3', here '1' and '2' are read/,
    );
    assert.match(await refusal(schemaMessage(new Schema(fields, format))), /no checksum/);
  });

  interface Claim {
    rows: number;
    nodes: [number, number][];
    buffers: [number, number][];
    bodyLength: number;
    body: Buffer;
  }

  /** A stream of one batch with right checksums, whatever the batch claims. */
  async function forged(change: (claim: Claim) => void): Promise<Buffer> {
    const empty = messagesOf(await encode({ columns: [], metadata: {} }, []));
    const body = Buffer.alloc(24);
    body.writeInt32LE(1, 4); // key offsets [0, 1], the key 'k', label 0
    body.write('k', 8);
    const claim: Claim = {
      rows: 1,
      nodes: [
        [1, 0],
        [1, 0],
      ],
      buffers: [
        [0, 0],
        [0, 8],
        [8, 1],
        [16, 0],
        [16, 4],
      ],
      bodyLength: 24,
      body,
    };
    change(claim);
    const custom = new Map([
      ['repa.after', firstLink(blanked(empty[0]))],
      ['repa.crc32', crc32(claim.body).toString(16).padStart(8, '0')],
      ['repa.crc32.head', '00000000'],
      ['repa.row', '0'],
      ['repa.last', 'true'],
    ]);
    const nodes = claim.nodes.map(([length, nulls]) => new FieldNode(length, nulls));
    const buffers = claim.buffers.map(([offset, length]) => new BufferRegion(offset, length));
    const header = new RecordBatch(claim.rows, nodes, buffers, null);
    const head = framed(new Message(claim.bodyLength, MetadataVersion.V5, MessageHeader.RecordBatch, header, custom));
    const digits = crc32(claim.body, crc32(head)).toString(16).padStart(8, '0');
    head.write(digits, head.indexOf('00000000'));
    return Buffer.concat([empty[0], head, claim.body, END_OF_STREAM]);
  }

  it('is read when the forged batch is in order', async () => {
    store(await forged(() => {}));
    assert.deepEqual((await readRows(file)).rows, [{ key: 'k', label: 0, tensors: {} }]);
  });

  const claims: [name: string, change: (claim: Claim) => void, message: RegExp][] = [
    [
      'more rows than its buffers',
      (c) => {
        c.rows = 2;
      },
      /not laid out/,
    ],
    [
      'a huge row count',
      (c) => {
        c.rows = 2 ** 50;
      },
      /not laid out/,
    ],
    [
      'a huge body',
      (c) => {
        c.bodyLength = 2 ** 45;
      },
      /too large/,
    ],
    [
      'a body below the limit that never comes',
      (c) => {
        c.bodyLength = 2 ** 31 - 8;
      },
      /not laid out/,
    ],
    [
      'a huge key buffer in a body that fits it',
      (c) => {
        c.buffers[2] = [8, 2 ** 30];
        c.buffers[3] = c.buffers[4] = [2 ** 30 + 8, 4];
        c.bodyLength = 2 ** 30 + 16;
      },
      /not laid out/,
    ],
    [
      'a key buffer that never comes',
      (c) => {
        c.buffers[2] = [8, 2 ** 30];
        c.buffers[3] = [2 ** 30 + 8, 0];
        c.buffers[4] = [2 ** 30 + 8, 4];
        c.bodyLength = 2 ** 30 + 16;
      },
      /truncated: \d+ bytes are missing inside the keys and labels of rows 0-0/,
    ],
    [
      'buffers that overlap',
      (c) => {
        c.buffers[4] = [8, 4];
      },
      /not laid out/,
    ],
    [
      'a buffer outside the body',
      (c) => {
        c.buffers[4] = [1000, 4];
      },
      /not laid out/,
    ],
    [
      'too few buffers',
      (c) => {
        c.buffers.pop();
      },
      /not laid out/,
    ],
    [
      'no buffers',
      (c) => {
        c.buffers = [];
      },
      /not laid out/,
    ],
    [
      'nulls',
      (c) => {
        c.nodes[1] = [1, 1];
      },
      /nulls/,
    ],
    [
      'key offsets beyond the keys',
      (c) => {
        c.body.writeInt32LE(2, 4);
      },
      /do not span/,
    ],
    [
      'key offsets that begin elsewhere',
      (c) => {
        c.body.writeInt32LE(1, 0);
      },
      /do not span/,
    ],
    [
      'a key that is not UTF-8',
      (c) => {
        c.body[8] = 0xff;
      },
      /a key is not UTF-8, in rows 0-0/,
    ],
  ];
  for (const [name, change, message] of claims) {
    it(`is refused with ${name}`, async () => {
      assert.match(await refusal(await forged(change)), message);
    });
  }

  it('is refused whatever its metadata, without a crash or a long wait', async () => {
    const start = (await encodeSmall()).subarray(0, 8);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 8, maxLength: 400 }), async (noise) => {
        const metadata = noise.subarray(0, noise.length - (noise.length % 8));
        const prefix = Buffer.from(start);
        prefix.writeInt32LE(metadata.length, 4);
        await refusal(Buffer.concat([prefix, metadata]));
      }),
    );
  });

  it('is refused with any 32-bit word of its metadata replaced, checksums aside', async () => {
    const [schema, ...rest] = messagesOf(await encodeSmall());
    for (let at = 8; at + 4 <= schema!.length; at += 4) {
      for (const word of [0, 0x7fffffff, 0xffffffff, 0x80000000, 64]) {
        const damaged = Buffer.from(schema!);
        damaged.writeUInt32LE(word, at);
        if (!damaged.equals(schema!)) await refusal(Buffer.concat([damaged, ...rest]));
      }
    }
  });
});

describe('crc32', () => {
  it('has the standard check value, in one piece or two', () => {
    const check = Buffer.from('123456789');
    for (const crc of [crc32, tableCrc32]) {
      assert.equal(crc(check), 0xcbf43926);
      assert.equal(crc(check.subarray(4), crc(check.subarray(0, 4))), 0xcbf43926);
      assert.equal(crc(new Uint8Array(0)), 0);
    }
  });
});
