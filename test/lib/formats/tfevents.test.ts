import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../../src/lib/files/crc32.js';
import { eventRecord, fileVersionRecord } from '../../../src/lib/formats/tfevents.js';

test('CRC-32C of the check string, in one part and in two', () => {
  const bytes = Buffer.from('123456789');
  assert.equal(crc32c(bytes), 0xe3069283); // RFC 3720's generator
  assert.equal(crc32c(bytes.subarray(4), crc32c(bytes.subarray(0, 4))), 0xe3069283);
});

// Made by the protocol buffers and the record writer of the Python package tensorboard 2.20 from the same values.
const VERSION = '1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c';
const EVENT =
  '53000000000000000d7d4e9109000000000000004010072a460a0b0a046c6f7373150000003f0a160a0773616d706c6573220b08051004' +
  '180322030102030a1f0a06636f6e666967420b08071204120208014201614a080a060a0474657874fd808af5';

test('the first record of a file, and an event of a scalar, a picture and a text', () => {
  assert.equal(fileVersionRecord(1.5).toString('hex'), VERSION);
  const record = eventRecord({
    wallTime: 2,
    step: 7,
    scalars: new Map([['loss', 0.5]]),
    pictures: new Map([['samples', { png: Buffer.from([1, 2, 3]), width: 4, height: 5 }]]),
    texts: new Map([['config', 'a']]),
  });
  assert.equal(record.toString('hex'), EVENT);
});
