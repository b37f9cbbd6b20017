/** What is said of plugins that are none, or fail: by a library that does so. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { deviceSpace, selectBackend } from '../../../src/lib/engine/index.js';
import { Client } from '../../../src/lib/engine/xla/client.js';
import { EXIT, RepaError } from '../../../src/lib/errors.js';
import { fixturePath, temporaryFolder } from '../../support.js';

const library = path.join(temporaryFolder(), 'fake.so');
const { status } = spawnSync('cc', ['-shared', '-fPIC', '-o', library, fixturePath('pjrt/fake.c')]);
const skip = status === 0 ? false : 'no C compiler';

/** A client of a library that fails so: each a file of its own, for a library is loaded once. */
function clientThatFails(fake: string): Client {
  process.env.FAKE = fake;
  const file = library.replace('fake', `fake-${fake.replaceAll(' ', '-')}`);
  copyFileSync(library, file);
  return new Client(file);
}

function assertSays(act: () => unknown, message: RegExp, hint: RegExp): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof RepaError, String(error));
    assert.match(error.message, message);
    assert.match(error.hint ?? '', hint);
    return error.exitCode === EXIT.unavailable;
  });
}

describe('a plugin', { skip }, () => {
  after(() => {
    delete process.env.FAKE;
  });

  test('that does not fail is opened, of whatever minor version', () => {
    const client = clientThatFails('nothing');
    assert.equal(client.api.version, '0.70');
    assert.deepEqual(
      client.devices.map(({ kind }) => kind),
      ['fake'],
    );
  });

  const CASES: Record<string, [message: RegExp, hint: RegExp]> = {
    major: [/has version 1\.3 of the PJRT interface, and repa calls 0\.x/, /install a plugin of this version/],
    missing: [/has version 0\.70, without PJRT_Client_Compile/, /install a plugin/],
    short: [/has version 0\.70, without PJRT_/, /install a plugin/],
    'no table': [/gives no functions of PJRT/, /--plugin/],
    'no device': [/finds no device that it can use: No visible GPU/, /driver is installed .*or use --backend onnx/],
    'no driver': [/finds no device that it can use: .*CUDA_ERROR_NO_DEVICE/, /driver is installed/],
    taken: [/no memory left for this process: CUDA_ERROR_OUT_OF_MEMORY/, /nvidia-smi.*CUDA_VISIBLE_DEVICES/],
    busy: [/another process has the accelerator: The TPU is already in use by process with pid 4711/, /end what else/],
    exclusive: [/another process has the accelerator: CUDA_ERROR_DEVICE_UNAVAILABLE/, /CUDA_VISIBLE_DEVICES/],
  };
  for (const [fake, [message, hint]] of Object.entries(CASES)) {
    test(`that fails by '${fake}' is told of`, () => assertSays(() => clientThatFails(fake), message, hint));
  }

  for (const [fake, [message, hint]] of Object.entries({
    full: [/the accelerator is out of memory: 2048 MiB more do not fit/, /end what else runs on it \(nvidia-smi\)/],
    lost: [/the fake device was lost: CUDA_ERROR_ECC_UNCORRECTABLE: [^\n]*$/, /the last checkpoint stands/],
  } as const)) {
    test(`whose device fails by '${fake}' is told of`, () => {
      const client = clientThatFails(fake);
      assertSays(() => client.upload(new Float32Array(4), [4], 'float32'), message, hint);
    });
  }

  test('that has no f64 leaves the states of samplers to the host', async () => {
    process.env.REPA_HOME = temporaryFolder();
    const { plugin } = clientThatFails('no f64');
    await selectBackend({ backend: 'xla', plugin });
    assert.equal(deviceSpace(), null);
  });

  test('of the processor whose compiler does not know our flag compiles without it', () => {
    const client = clientThatFails('old cpu');
    assert.ok(client.isCpu);
    assert.equal(client.compile('module {}').outputs, 0);
  });

  test('that lacks an operation is told of by its first line', () => {
    const client = clientThatFails('compile');
    assertSays(
      () => client.compile('module {}'),
      /cannot compile what repa computes: stablehlo\.sort is not implemented$/,
      /--backend onnx/,
    );
  });
});
