import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { onCompilation } from '../../src/lib/engine/compilation.js';
import { Client } from '../../src/lib/engine/xla/client.js';
import { ProgramCache } from '../../src/lib/engine/xla/program-cache.js';
import { temporaryFolder } from '../support.js';
import { testPlugin } from './support.js';

const client = new Client(testPlugin());

const square = (size: number, alias = ''): string => `module @m {
func.func public @main(%x: tensor<${size}xf32>${alias}) -> tensor<${size}xf32> {
%y = stablehlo.multiply %x, %x : tensor<${size}xf32>
return %y : tensor<${size}xf32> } }`;

describe('a PJRT client', () => {
  test('knows its devices, platform and version', () => {
    assert.equal(client.platform, 'cpu');
    assert.ok(client.isCpu);
    assert.match(client.api.version, /^0\.\d+$/);
    assert.equal(client.devices.length, Number(process.env.XLA_CPU_DEVICES ?? 1));
    assert.equal(client.devices[0].kind, 'cpu');
    assert.equal(client.memory(client.devices[0]), undefined);
  });

  test('keeps each element of each type', () => {
    const numbers = Float32Array.of(0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1e-45);
    const cases = [
      ['float32', numbers, new Float32Array(6)],
      ['int32', Int32Array.of(-(2 ** 31), 0, 1, 2 ** 31 - 1), new Int32Array(4)],
      ['bool', Uint8Array.of(0, 1, 1), new Uint8Array(3)],
    ] as const;
    for (const [type, data, back] of cases) {
      const buffer = client.upload(data, [data.length], type);
      buffer.read(back);
      assert.deepEqual(back, data);
      buffer.dispose();
    }
    const scalar = client.upload(Float32Array.of(7), [], 'float32');
    scalar.read(numbers.subarray(0, 1));
    assert.equal(numbers[0], 7);
    const empty = client.upload(new Float32Array(0), [0, 3], 'float32');
    empty.read(new Float32Array(0));
  });

  test('runs beside the event loop: what is uploaded and read so', async () => {
    const data = Float32Array.from({ length: 1000 }, (_, i) => i);
    const buffer = client.beginUpload(data, [1000], 'float32');
    const executable = client.compile(square(1000));
    const [[result]] = executable.run([[buffer]]);
    const back = new Float32Array(1000);
    await result.readAsync(back);
    assert.deepEqual(
      back,
      data.map((x) => x * x),
    );
  });

  test('hands memory on: what is donated is used up', () => {
    const executable = client.compile(square(4, ' {tf.aliasing_output = 0 : i32}'));
    const buffer = client.upload(Float32Array.of(1, 2, 3, 4), [4], 'float32');
    const [[result]] = executable.run([[buffer]]);
    const back = new Float32Array(4);
    result.read(back);
    assert.deepEqual(back, Float32Array.of(1, 4, 9, 16));
    assert.throws(() => executable.run([[buffer]]));
    buffer.dispose();
    assert.throws(() => buffer.handle, /after its end/);
  });

  // In XLA of TensorFlow 2.21, left to its YNNPACK emitter, such a program ends the process.
  test('sums up a product of bfloat16', () => {
    const executable = client.compile(`module @m {
func.func public @main(%x: tensor<256x256xf32>) -> tensor<f32> {
%a = stablehlo.convert %x : (tensor<256x256xf32>) -> tensor<256x256xbf16>
%p = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : (tensor<256x256xbf16>, tensor<256x256xbf16>) -> tensor<256x256xf32>
%zero = stablehlo.constant dense<0.0> : tensor<f32>
%s = stablehlo.reduce(%p init: %zero) applies stablehlo.add across dimensions = [0, 1] : (tensor<256x256xf32>, tensor<f32>) -> tensor<f32>
return %s : tensor<f32> } }`);
    const [[result]] = executable.run([[client.upload(new Float32Array(65536).fill(0.5), [256, 256], 'float32')]]);
    const back = new Float32Array(1);
    result.read(back);
    assert.equal(back[0], 256 ** 3 / 4);
  });

  test('says what a program takes', () => {
    const { memory } = client.compile(square(1000));
    assert.deepEqual(memory, { arguments: 4000, outputs: 4000, temporary: 0 });
    const { memory: shared } = client.compile(square(1000, ' {tf.aliasing_output = 0 : i32}'));
    assert.equal(shared?.outputs, 0);
  });

  test('says what a plugin says of a program that does not compile', () => {
    assert.throws(() => client.compile('module @m { nonsense }'), /nonsense|expected/);
  });

  test('keeps programs on disk, and takes none that is broken', () => {
    const folder = mkdtempSync(path.join(temporaryFolder(), 'programs-'));
    // Long enough to be told of, and quick to compile.
    const numbers = Buffer.from(Float32Array.from({ length: 32768 }, (_, i) => i).buffer).toString('hex');
    const text = `module @m {
func.func public @main(%x: tensor<32768xf32>) -> tensor<32768xf32> {
%c = stablehlo.constant dense<"0x${numbers}"> : tensor<32768xf32>
%y = stablehlo.add %x, %c : tensor<32768xf32>
return %y : tensor<32768xf32> } }`;
    const compile = (): number => {
      const cache = new ProgramCache(client, folder, 0);
      let compilations = 0;
      onCompilation(() => {
        compilations++;
        return () => {};
      });
      const executable = cache.acquire(text);
      const input = client.upload(new Float32Array(32768).fill(0.5), [32768], 'float32');
      const [[result]] = executable.run([[input]]);
      const back = new Float32Array(32768);
      result.read(back);
      assert.equal(back[100], 100.5);
      return compilations;
    };
    assert.equal(compile(), 1);
    const [name] = readdirSync(folder);
    assert.match(name, /^[0-9a-f]{64}\.pjrt$/);
    assert.equal(compile(), 0);
    const file = path.join(folder, name);
    const broken = readFileSync(file);
    broken[broken.length >> 1] ^= 1;
    writeFileSync(file, broken);
    assert.equal(compile(), 1);
    assert.equal(compile(), 0);
  });
});

/** A process of its own: the plugin reads what it is to be when it starts. */
async function failureWith(environment: Record<string, string>, code: string): Promise<string> {
  const program = `
    const { Client } = await import(${JSON.stringify(new URL('../../src/lib/engine/xla/client.js', import.meta.url).href)});
    const square = ${square.toString()};
    try {
      const client = new Client(process.env.REPA_PJRT_PLUGIN);
      ${code}
      console.log('nothing went wrong');
    } catch (error) {
      console.log(error.exitCode + ' ' + error.message + ' | ' + error.hint);
    }`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, ...environment },
  });
  return stdout.trim();
}

describe('what goes wrong on a device', () => {
  const run = `
    const executable = client.compile(square(1024));
    for (let i = 0; i < 3; i++) {
      const [[result]] = executable.run([[client.upload(new Float32Array(1024), [1024], 'float32')]]);
      result.read(new Float32Array(1024));
    }`;

  test('another version of the interface', async () => {
    const said = await failureWith({ XLA_CPU_API: '1.2' }, '');
    assert.match(said, /^69 .* has version 1\.2 of the PJRT interface, and repa calls 0\.x \| install a plugin/);
  });

  test('a file that is no plugin', async () => {
    const said = await failureWith({ REPA_PJRT_PLUGIN: process.execPath }, '');
    assert.match(said, /^69 .* cannot be loaded as a PJRT plugin|^69 .* gives no functions of PJRT/);
  });

  test('no memory for an array, none for a run', async () => {
    const upload = await failureWith(
      { XLA_CPU_MEMORY: '1000000' },
      `client.upload(new Float32Array(2**20), [2**20], 'float32')`,
    );
    assert.match(upload, /^69 the accelerator is out of memory: 4 MiB more do not fit \| lower --batch-size/);
    const program = await failureWith({ XLA_CPU_MEMORY: '8000' }, run);
    assert.match(program, /^69 the accelerator is out of memory/);
  });

  test('a device that is lost in the middle', async () => {
    const said = await failureWith({ XLA_CPU_LOST_AFTER: '2' }, run);
    assert.match(said, /^69 the cpu device was lost: .* \| the last checkpoint stands/);
  });

  test('memory is counted where the plugin counts it', async () => {
    const said = await failureWith(
      { XLA_CPU_MEMORY: '100000' },
      `client.upload(new Float32Array(1000), [1000], 'float32'); console.log(JSON.stringify(client.memory(client.devices[0])));`,
    );
    assert.match(said, /^\{"inUse":4000,"peak":4000,"limit":100000\}/);
  });
});
