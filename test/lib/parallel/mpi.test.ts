import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnavailableError } from '../../../src/lib/errors.js';
import { ALONE, agree, anyRank, joinGroup } from '../../../src/lib/parallel/group.js';
import { openMpiLibrary } from '../../../src/lib/parallel/mpi-library.js';

test('a process that nobody launched is a group of its own', async () => {
  const group = await joinGroup({ SLURM_NTASKS: '8' });
  assert.equal(group, ALONE);
  assert.equal(anyRank(group, true), true);
  assert.equal(anyRank(group, false), false);
  assert.equal(agree(group, Buffer.from('weights')), true);
});

test('what is no MPI library is refused by name', () => {
  for (const [file, message] of [
    ['/nowhere/libmpi.so', /\/nowhere\/libmpi\.so cannot be loaded/],
    [process.execPath, /cannot be loaded/],
  ] as const) {
    assert.throws(
      () => openMpiLibrary({ REPA_MPI_LIBRARY: file }),
      (error) => error instanceof UnavailableError && message.test(error.message),
    );
  }
});

test('a launch of several processes without an MPI library is an error, not as many runs', async () => {
  const environment = { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '2', REPA_MPI_LIBRARY: '/nowhere/libmpi.so' };
  await assert.rejects(joinGroup(environment), UnavailableError);
});
