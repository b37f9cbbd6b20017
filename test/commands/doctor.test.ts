import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import type { Diagnosis } from '../../src/lib/diagnosis/diagnose.js';
import { repa, temporaryFolder } from './binary.js';

test('doctor measures what works, and says of the rest what is missing', async (t) => {
  const env = { REPA_MPI_LIBRARY: '/nowhere/libmpi.so' };
  const { code, stdout, stderr } = await repa(['doctor', '--json'], { cwd: temporaryFolder(t), env });
  assert.equal(code, 0, stderr);
  const found: Diagnosis = JSON.parse(stdout.toString());
  assert.equal(found.cores, availableParallelism());
  assert.ok(found.free_bytes > 0 && found.free_bytes <= found.memory_bytes);
  assert.deepEqual(
    found.backends.map(({ name }) => name),
    ['onnx', 'xla', 'webgpu', 'tensorflow', 'tensorflow-gpu'],
  );
  const [onnx, ...others] = found.backends;
  assert.ok(onnx.works && onnx.gflops > 0.1 && /^\d+\.\d+/.test(onnx.version));
  for (const backend of others)
    assert.ok(
      backend.works || /npm install|NVIDIA driver|CUDA|Vulkan driver|repa pull xla-cuda13/.test(backend.hint ?? ''),
      backend.name,
    );
  assert.ok(!found.mpi.works && /\/nowhere\/libmpi\.so/.test(found.mpi.problem));
});

test('doctor tells a person the same', async (t) => {
  const { code, stdout } = await repa(['doctor'], { cwd: temporaryFolder(t) });
  assert.equal(code, 0);
  assert.match(stdout.toString(), /^onnx +works: version .* GFLOPS/m);
  for (const label of ['repa', 'processor', 'memory', 'gpu', 'tensorflow-gpu', 'mpi']) {
    assert.match(stdout.toString(), new RegExp(`^${label} `, 'm'));
  }
});
