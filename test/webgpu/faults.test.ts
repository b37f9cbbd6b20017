/** A GPU that is out of memory, or lost: by a driver whose calls fail (driver.c). */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa } from '../commands/binary.js';
import { parseLog, prepared, RUN } from '../commands/training-run.js';

// Compiled tests lie in dist/test; what is not TypeScript stays in test.
const SOURCE = fileURLToPath(new URL('../../../test/webgpu/driver.c', import.meta.url));
/** Of VkResult. */
const [OUT_OF_MEMORY, INITIALIZATION_FAILED, LOST] = [-2, -3, -4];

/** What tells the loader of Vulkan the library of a driver. */
interface Manifest {
  ICD: { library_path: string };
}

/** The environment of a process whose driver fails when REPA_FAULT says it. */
function failingDriver(folder: string): Record<string, string> {
  const library = path.join(folder, 'driver.so');
  const { status, stderr } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl']);
  assert.equal(status, 0, `${stderr}`);
  const own = JSON.parse(readFileSync(process.env.VK_DRIVER_FILES!, 'utf8')) as Manifest;
  const manifest = path.join(folder, 'driver.json');
  writeFileSync(manifest, JSON.stringify({ ...own, ICD: { ...own.ICD, library_path: library } }));
  return { REPA_DRIVER: own.ICD.library_path, VK_DRIVER_FILES: manifest };
}

async function latents(stream: string): Promise<number[]> {
  const rows: number[] = [];
  for await (const { tensors } of await openTensorStream(stream)) rows.push(...(tensors.latent as Float32Array));
  return rows;
}

const MEMORY = /the GPU (is out of memory|refused .* want of memory|made no buffer)/;

test('a GPU that fails is an error that says what to do, and never other numbers', async (t) => {
  const cwd = await prepared(t);
  const environment = failingDriver(cwd);
  const run = (args: readonly string[], fault = '') => repa(args, { cwd, env: { ...environment, REPA_FAULT: fault } });
  const sample = ['sample', '--ckpt', 'run', '--num', '2', '--steps', '4', '--latents', '--backend', 'webgpu', '-o'];
  const train = ['train', ...RUN, '--steps', '2', '--backend', 'webgpu', '--out'];
  const trained = await run([...train, 'run']);
  assert.equal(trained.code, 0, trained.stderr);
  assert.equal((await run([...sample, 'whole'])).code, 0);
  const whole = await latents(path.join(cwd, 'whole'));

  for (const [fault, named] of [
    [`vkCreateDevice:0:${INITIALIZATION_FAILED}`, /the GPU failed: Failed to get a WebGPU device/],
    [`vkAllocateMemory:20:${OUT_OF_MEMORY}`, MEMORY],
    [`vkCreateComputePipelines:5:${OUT_OF_MEMORY}`, /the GPU (refused|failed)/],
    [`vkQueueSubmit:30:${LOST}`, /the GPU was lost while it computed/],
  ] as const) {
    await t.test(`sampling, ${fault}`, async () => {
      const { code, stderr } = await run([...sample, 'failed'], fault);
      assert.equal(code, 69, stderr);
      assert.match(stderr, named);
      assert.match(stderr, /--backend onnx/);
      assert.ok(!existsSync(path.join(cwd, 'failed')));
    });
  }

  // A single call: what was to be sent is not, while all that comes after it works.
  for (const at of [10, 30, 40, 52]) {
    await t.test(`sampling without memory once, at allocation ${at}`, async () => {
      const { code, stderr } = await run([...sample, `once-${at}`], `vkAllocateMemory:${at}:${OUT_OF_MEMORY}:1`);
      if (code === 0) return assert.deepEqual(await latents(path.join(cwd, `once-${at}`)), whole);
      assert.equal(code, 69, stderr);
      assert.match(stderr, MEMORY);
      assert.ok(!existsSync(path.join(cwd, `once-${at}`)));
    });
  }

  for (const fault of [`vkAllocateMemory:330:${OUT_OF_MEMORY}:1`, `vkQueueSubmit:400:${LOST}`]) {
    await t.test(`training, ${fault}, and once more without`, async () => {
      const out = `trained-${fault.split(':')[0]}`;
      const { code, stdout, stderr } = await run([...train, out], fault);
      assert.equal(code, 69, stderr);
      const expected = parseLog(trained.stdout.toString()).map(({ loss }) => loss);
      const losses = parseLog(`${stdout}` || '[]').map(({ loss }) => loss);
      assert.deepEqual(
        losses.filter((loss) => loss !== undefined),
        expected.slice(0, losses.length),
      );
      assert.deepEqual(
        readdirSync(path.join(cwd, out)).filter((name) => name.startsWith('step-')),
        [],
      );
      const again = await run([...train, out]);
      assert.equal(again.code, 0, again.stderr);
    });
  }
});
