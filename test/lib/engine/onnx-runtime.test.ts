import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, test } from 'node:test';
import { operation, Value } from '../../../src/lib/engine/graph/value.js';
import { lower } from '../../../src/lib/engine/onnx/lower/index.js';
import { CPU_LOWERING } from '../../../src/lib/engine/onnx/lower/lowering.js';
import { encodeModel } from '../../../src/lib/engine/onnx/model.js';
import {
  type ApiBase,
  addressAt,
  availableProviders,
  bindApi,
  ort,
} from '../../../src/lib/engine/onnx/runtime/library.js';
import { OrtSession, type SessionOptions } from '../../../src/lib/engine/onnx/runtime/session.js';
import { Session } from '../../../src/lib/engine/onnx/session.js';
import { explain } from '../../../src/lib/engine/onnx/webgpu/device.js';
import { UnavailableError } from '../../../src/lib/errors.js';
import { koffi } from '../../../src/lib/foreign-functions.js';

const OPTIONS: SessionOptions = { threads: 1, reused: true };

const input = (shape: readonly number[]): Value => new Value('float32', shape, { kind: 'input' });

function session(...wanted: Value[]): Session {
  const { graph } = lower(wanted, CPU_LOWERING, () => false);
  return new Session(graph, encodeModel(graph), OPTIONS);
}

describe('what goes wrong on a GPU', () => {
  const said: [message: string, named: RegExp][] = [
    [
      'webgpu_context.cc:136 Initialize adapter_result.status == Success was false. Failed to get a WebGPU adapter: x\n',
      /^WebGPU finds no GPU that it can use: Failed to get a WebGPU adapter: x$/,
    ],
    [
      'Status Message: /a/shader_helper.cc:306 AddVariableImpl(bool) n <= limits_.x was false. Too many storage buffers in shader.',
      /^a tensor is larger than the buffers of the GPU: Too many storage buffers in shader\.$/,
    ],
    ['Status Message: Tile output exceeds the supported maximum of 4 bytes.', /^a tensor is larger than the buffers/],
    ['A valid external Instance reference no longer exists. Device was lost', /^the GPU was lost while it computed/],
    ['Failed to allocate memory for requested buffer of size 4', /^the GPU is out of memory/],
    [
      'buffer_manager.cc:641 status == Success was false. Failed to download. value: 4, message: [Device] is lost.',
      /^the GPU was lost while it computed: Failed to download/,
    ],
    [
      'Download() const [ONNXRuntimeError] : 1 : FAIL : Failed to wait for the operation:2',
      /^the GPU was lost .*: Failed/,
    ],
    [
      '[Invalid Buffer (unlabeled)] is invalid due to a previous error.',
      /^the GPU made no buffer, most likely for want/,
    ],
    ['Failed to get a WebGPU device: vkCreateDevice failed', /^the GPU failed: Failed to get a WebGPU device/],
  ];
  test('is named, with what to do', () => {
    for (const [message, named] of said) {
      assert.throws(
        () => explain(() => assert.fail(message)),
        (error) =>
          error instanceof UnavailableError && named.test(error.message) && /--backend onnx/.test(error.hint ?? ''),
      );
    }
    assert.throws(() => explain(() => assert.fail('another')), /^AssertionError.*another/);
  });
});

describe("ONNX Runtime's C interface", () => {
  const version = '1.30.0';
  const refused: [what: string, base: ApiBase, message: RegExp][] = [
    [
      'older than the functions that are called',
      { version: '1.22.1', table: () => 1n },
      /1\.22\.1 .* another interface/,
    ],
    ['of another generation', { version: '2.0.0', table: () => 1n }, /2\.0\.0 .* another interface/],
    ['without the table', { version, table: () => 0n }, /does not know version 23/],
  ];
  for (const [what, base, message] of refused) {
    test(`a library ${what} is an error that says which to install`, () => {
      assert.throws(
        () => bindApi(base),
        (error) =>
          error instanceof UnavailableError &&
          message.test(error.message) &&
          /npm install onnxruntime-node@/.test(error.hint ?? ''),
      );
    });
  }

  /** A copy of the library's own table of functions, in which entries can be changed. */
  function copiedTable(): BigUint64Array {
    ort();
    const library = koffi.load(
      path.join('node_modules/onnxruntime-node/bin/napi-v6', process.platform, process.arch, 'libonnxruntime.so.1'),
    );
    const base = BigInt(library.func('OrtGetApiBase', 'uintptr_t', [])() as bigint);
    const type = koffi.proto('CopiedGetApi', 'uintptr_t', ['int']);
    const table = BigInt((koffi.decode(addressAt(base, 0), type) as (version: number) => bigint)(23));
    return BigUint64Array.from({ length: 387 }, (_, place) => addressAt(table, place));
  }
  const skip = process.platform !== 'linux';

  test('functions in another order, or missing, are errors', { skip }, () => {
    const table = copiedTable();
    const base = { version, table: () => koffi.address(table) };
    assert.equal(bindApi(base).version, version);
    [table[1], table[2]] = [table[2], table[1]];
    assert.throws(() => bindApi(base), /are not in the order of its interface/);
    [table[1], table[2]] = [table[2], table[1]];
    table[386] = 0n;
    assert.throws(() => bindApi(base), /has no function CopyTensors/);
  });

  test('names what is built into the library', () => {
    assert.ok(availableProviders().includes('CPUExecutionProvider'));
  });

  test('runs on another thread while JavaScript goes on, with the same result', async () => {
    const [x, y] = [input([64, 64]), input([64, 64])];
    const product = session(...operation('product', [x, y], { transposeA: false, transposeB: false, scale: 1 }));
    const [a, b] = [1, 2].map((phase) => Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i + phase)));
    const into = new Float32Array(4096);
    const [result] = await product.runAsync([a, b], [into]);
    assert.equal(result, into);
    assert.deepEqual(result, product.run([a, b])[0]);
    product.dispose();
  });

  test('a run that fails says so, on either thread', async () => {
    const x = input([1]);
    const huge = session(...operation('pad', [x], { before: [0], after: [1e15], value: 0 }));
    const inputs = [new Float32Array(1)];
    assert.throws(() => huge.run(inputs), UnavailableError);
    await assert.rejects(huge.runAsync(inputs), UnavailableError);
    huge.dispose();
  });

  test('empty tensors go in and come out', () => {
    const x = input([0, 3]);
    const [sum] = session(...operation('reduce', [x], { function: 'sum', axes: [0], keep: false })).run([
      new Float32Array(),
    ]);
    assert.deepEqual([...(sum as Float32Array)], [0, 0, 0]);
  });

  test('describes what a model takes and gives', () => {
    const wanted = operation('unary', [input([2, 3])], { function: 'exp' });
    const { graph } = lower(wanted, CPU_LOWERING, () => false);
    const opened = new OrtSession(encodeModel(graph), OPTIONS);
    assert.deepEqual(opened.inputs(), [{ name: graph.inputs[0].name, type: 1, shape: [2, 3] }]);
    assert.deepEqual(opened.outputs(), [{ name: graph.outputs[0].name, type: 1, shape: [2, 3] }]);
    opened.release();
  });
});
