/**
 * TensorFlow packages that are broken, each in its own way: the program beside a stand-in for `@tensorflow/tfjs-node`.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tf } from '../../src/lib/engine/index.js';
import { repa, shell, temporaryFolder } from './binary.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const SAMPLE = 'sample --ckpt none -o samples --backend';

/** Runs repa's `args` where the package `name` consists of `code`. */
async function beside(t: TestContext, name: string, code: string, args: string) {
  const cwd = temporaryFolder(t);
  const installed = path.join(cwd, 'node_modules/@tensorflow', name);
  mkdirSync(installed, { recursive: true });
  writeFileSync(path.join(installed, 'package.json'), '{ "main": "index.js" }');
  writeFileSync(path.join(installed, 'index.js'), code);
  writeFileSync(path.join(installed, 'binding.node'), 'not a library');
  const program = path.join(cwd, 'repa');
  for (const part of ['bin', 'dist/src', 'package.json']) {
    cpSync(path.join(root, part), path.join(program, part), { recursive: true });
  }
  symlinkSync(path.join(root, 'node_modules'), path.join(program, 'node_modules'));
  return shell(`'${process.execPath}' '${program}/bin/repa.js' ${args}`, { cwd });
}

const BACKEND = `
const backend = { isUsingGpuDevice: false, binding: { TF_Version: '2.9.1' } };
global._tfengine.registerBackend('tensorflow', () => backend, 3);
`;

const cases: [what: string, name: string, code: string, message: RegExp, hint: RegExp][] = [
  [
    'its binding was not built',
    'tfjs-node',
    'throw new Error("The Node.js native addon module (tfjs_binding.node) can not be found at path: x. \\nPlease run ...");',
    /@tensorflow\/tfjs-node does not load: The Node\.js native addon module .* can not be found at path: x\.$/m,
    /npm rebuild @tensorflow\/tfjs-node; or use --backend onnx/,
  ],
  [
    'its binding is not a library',
    'tfjs-node',
    'require("./binding.node");',
    /@tensorflow\/tfjs-node does not load: .*binding\.node/,
    /npm rebuild/,
  ],
  [
    'it is of another version',
    'tfjs-node',
    'exports.version = { "tfjs-core": "3.21.0" };',
    /@tensorflow\/tfjs-node is of tfjs-core 3\.21\.0, and repa of 4\.\d+\.\d+/,
    /npm install @tensorflow\/tfjs-node@4\.\d+\.\d+/,
  ],
  [
    'it finds no GPU',
    'tfjs-node-gpu',
    `${BACKEND} exports.version = { "tfjs-core": "${tf.version_core}" };`,
    /TensorFlow 2\.9\.1 finds no GPU/,
    /NVIDIA driver|CUDA.*; or use --backend onnx/,
  ],
];
for (const [what, name, code, message, hint] of cases) {
  test(`${name}: ${what}: exit 69, and what to do`, async (t) => {
    const backend = name.replace('tfjs-node', 'tensorflow');
    const { code: exit, stderr } = await beside(t, name, code, `${SAMPLE} ${backend}`);
    assert.equal(exit, 69, stderr);
    assert.match(stderr, message);
    assert.match(stderr, hint);
  });
}

test('webgpu where no driver is: exit 69, and what to do', { skip: process.platform !== 'linux' }, async (t) => {
  const env = { VK_DRIVER_FILES: '/nowhere/icd.json', VK_ICD_FILENAMES: '/nowhere/icd.json' };
  const { code, stderr } = await repa(SAMPLE.split(' ').concat('webgpu'), { cwd: temporaryFolder(t), env });
  assert.equal(code, 69, stderr);
  assert.match(stderr, /WebGPU finds no GPU that it can use/);
  assert.match(stderr, /Vulkan driver.*or use --backend onnx/);
});

test('doctor tells the same, and computes on onnx', async (t) => {
  const { code, stdout } = await beside(t, 'tfjs-node', 'require("./binding.node");', 'doctor');
  assert.equal(code, 0);
  assert.match(stdout.toString(), /^onnx +works/m);
  assert.match(
    stdout.toString(),
    /^tensorflow +unavailable: @tensorflow\/tfjs-node does not load: .*\n +.*npm rebuild/m,
  );
  assert.match(stdout.toString(), /^tensorflow-gpu +unavailable: .*\n +.*npm install @tensorflow\/tfjs-node-gpu/m);
});
