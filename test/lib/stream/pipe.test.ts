import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { DataError } from '../../../src/lib/errors.js';
import { openTensorStream } from '../../../src/lib/stream/reader.js';
import type { StreamSchema } from '../../../src/lib/stream/schema.js';
import { atomicFileSink, fdSink } from '../../../src/lib/stream/sink.js';
import { TensorWriter } from '../../../src/lib/stream/writer.js';
import { temporaryFolder } from '../../support.js';
import { readRows } from './support.js';

const folder = temporaryFolder();
const library = new URL('../../../src/lib/stream/', import.meta.url).href;

const SCHEMA: StreamSchema = { columns: [{ name: 'x', dtype: 'f32', shape: [1000] }], metadata: {} };
const ROWS = 500; // 2 MB: far more than a pipe holds
const x = new Float32Array(1000).fill(1);

async function produce(fd: number, rows = ROWS): Promise<TensorWriter> {
  const writer = new TensorWriter(fdSink(fd), SCHEMA, { batchBytes: 100_000 });
  for (let row = 0; row < rows; row++) await writer.append(`${row}`, row, { x });
  return writer;
}

/** Both ends of a new pipe, non-blocking: what is full or empty answers EAGAIN. */
function openPipe(name: string): { readEnd: number; writeEnd: number } {
  const fifo = path.join(folder, name);
  execFileSync('mkfifo', [fifo]);
  const { O_NONBLOCK, O_RDONLY, O_WRONLY } = fs.constants;
  return { readEnd: fs.openSync(fifo, O_RDONLY | O_NONBLOCK), writeEnd: fs.openSync(fifo, O_WRONLY | O_NONBLOCK) };
}

/** Runs a shell pipeline in which $PRODUCE writes rows without end, until it fails or kills itself. */
function shell(pipeline: string, killAfter = 1e9): { stdout: string; stderr: string } {
  const producer = `
    import { TensorWriter } from '${library}writer.js';
    import { fdSink } from '${library}sink.js';
    const writer = new TensorWriter(fdSink(1), ${JSON.stringify(SCHEMA)}, { batchBytes: 100_000 });
    try {
      for (let row = 0; ; row++) {
        if (row === ${killAfter}) process.kill(process.pid, 'SIGKILL');
        await writer.append(String(row), row, { x: new Float32Array(1000) });
      }
    } catch (error) {
      console.error(error.code);
    }`;
  const consumer = `
    import { openTensorStream } from '${library}reader.js';
    let rows = 0;
    try {
      for await (const batch of await openTensorStream('-')) rows += batch.rows;
      console.log('complete');
    } catch (error) {
      console.log(error.exitCode, rows, error.message);
    }`;
  const run = (code: string): string => `"${process.execPath}" --input-type=module -e "$${code}"`;
  const command = pipeline.replace('$PRODUCE', run('PRODUCER')).replace('$CONSUME', run('CONSUMER'));
  const result = spawnSync('sh', ['-c', command], {
    env: { ...process.env, PRODUCER: producer, CONSUMER: consumer },
    encoding: 'utf8',
  });
  return { stdout: result.stdout, stderr: result.stderr };
}

describe('a tensor stream in a pipe', () => {
  it('waits for a slow reader and for a slow writer', async () => {
    const { readEnd, writeEnd } = openPipe('slow');
    let produced = false;
    const produceAll = async (): Promise<void> => {
      const writer = await produce(writeEnd);
      produced = true;
      await writer.end();
    };
    const producing = produceAll().finally(() => fs.closeSync(writeEnd));
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(produced, false, 'a full pipe holds the writer back');
    // Each side closes its end whatever happens, so that a failure of one cannot leave the other waiting.
    const reading = readRows(readEnd).finally(() => fs.closeSync(readEnd));
    const [{ rows }] = await Promise.all([reading, producing]);
    assert.deepEqual(
      rows.map(({ label }) => label),
      [...Array(ROWS).keys()],
    );
    assert.deepEqual(rows[ROWS - 1].tensors.x, x);
  });

  it('says EPIPE when its reader is gone', async () => {
    const { readEnd, writeEnd } = openPipe('gone');
    fs.closeSync(readEnd);
    await assert.rejects(produce(writeEnd), { code: 'EPIPE' });
    fs.closeSync(writeEnd);
    const { stdout, stderr } = shell('$PRODUCE | head -c 1000 | wc -c');
    assert.equal(stdout.trim(), '1000');
    assert.equal(stderr.trim(), 'EPIPE');
  });

  it('is refused when its producer was killed, also between two batches', async () => {
    const { stdout } = shell('$PRODUCE | $CONSUME', 250);
    assert.match(
      stdout,
      /^65 240 <stdin>: truncated: the end-of-stream marker is missing, after 240 rows \(at byte \d+\)/,
    );
  });

  it('can be left early', async () => {
    const { readEnd, writeEnd } = openPipe('early');
    const producing = produce(writeEnd).finally(() => fs.closeSync(writeEnd));
    let rows = 0;
    for await (const batch of await openTensorStream(readEnd)) {
      rows += batch.rows;
      break;
    }
    fs.closeSync(readEnd);
    await assert.rejects(producing, { code: 'EPIPE' });
    assert.ok(rows > 0 && rows < ROWS, `${rows} rows`);
  });
});

describe('atomicFileSink', () => {
  const target = path.join(folder, 'target');

  it('gives the file its name when the stream has ended', async () => {
    fs.writeFileSync(target, 'old');
    const sink = await atomicFileSink(target);
    const writer = new TensorWriter(sink, SCHEMA);
    await writer.append('a', 1, { x });
    assert.equal(fs.readFileSync(target, 'utf8'), 'old');
    await writer.end();
    await sink.commit(); // already done by the end of the stream
    assert.equal((await readRows(target)).rows.length, 1);
  });

  it('leaves the old file, and nothing else, when aborted', async () => {
    fs.writeFileSync(target, 'old');
    const before = fs.readdirSync(folder);
    const sink = await atomicFileSink(target);
    await new TensorWriter(sink, SCHEMA).start();
    await sink.abort();
    assert.equal(fs.readFileSync(target, 'utf8'), 'old');
    assert.deepEqual(fs.readdirSync(folder), before);
    await assert.rejects(readRows(target), DataError);
  });
});
