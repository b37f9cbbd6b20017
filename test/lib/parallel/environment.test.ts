import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deviceOfRank, localRanks, mpiRank, shardFromEnvironment } from '../../../src/lib/parallel/environment.js';

test('a Slurm array, an Indexed Job and MPI launchers give the shard', () => {
  const cases: [Record<string, string>, { index: number; count: number } | undefined][] = [
    [{}, undefined],
    [
      { SLURM_ARRAY_TASK_ID: '5', SLURM_ARRAY_TASK_COUNT: '8', SLURM_ARRAY_TASK_MIN: '1' },
      { index: 4, count: 8 },
    ],
    [
      { SLURM_ARRAY_TASK_ID: '5', SLURM_ARRAY_TASK_COUNT: '8' },
      { index: 5, count: 8 },
    ],
    [
      { JOB_COMPLETION_INDEX: '2', JOB_COMPLETIONS: '3' },
      { index: 2, count: 3 },
    ],
    [{ JOB_COMPLETION_INDEX: '2' }, undefined],
    [
      { OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '4' },
      { index: 1, count: 4 },
    ],
    [
      { PMI_RANK: '0', PMI_SIZE: '2' },
      { index: 0, count: 2 },
    ],
    [
      { PMIX_RANK: '3', SLURM_NTASKS: '4' },
      { index: 3, count: 4 },
    ],
    [
      { SLURM_PROCID: '2', SLURM_STEP_NUM_TASKS: '4', SLURM_NTASKS: '8' },
      { index: 2, count: 4 },
    ],
    [{ SLURM_PROCID: '0', SLURM_NTASKS: '8' }, undefined],
    [{ PMI_RANK: '7', PMI_SIZE: '2' }, undefined],
    [{ PMI_RANK: 'x', PMI_SIZE: '2' }, undefined],
  ];
  for (const [environment, expected] of cases) assert.deepEqual(shardFromEnvironment(environment), expected);
});

test('a Slurm array is no MPI launch', () => {
  assert.equal(mpiRank({ SLURM_ARRAY_TASK_ID: '5', SLURM_ARRAY_TASK_COUNT: '8' }), undefined);
});

test('ranks of this machine are counted as each launcher tells them', () => {
  const slurm = { SLURM_PROCID: '0', SLURM_STEP_NUM_TASKS: '7', SLURM_STEP_TASKS_PER_NODE: '2(x3),1' };
  const cases: [Record<string, string>, number][] = [
    [{}, 1],
    [{ OMPI_COMM_WORLD_LOCAL_SIZE: '4' }, 1],
    [{ OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '8', OMPI_COMM_WORLD_LOCAL_SIZE: '4' }, 4],
    [{ PMI_RANK: '0', PMI_SIZE: '2', MPI_LOCALNRANKS: '2' }, 2],
    [{ ...slurm, SLURM_NODEID: '2' }, 2],
    [{ ...slurm, SLURM_NODEID: '3' }, 1],
  ];
  for (const [environment, expected] of cases) assert.equal(localRanks(environment), expected);
});

test('ranks that share a machine take one of its devices each', () => {
  const second = {
    OMPI_COMM_WORLD_RANK: '5',
    OMPI_COMM_WORLD_SIZE: '8',
    OMPI_COMM_WORLD_LOCAL_SIZE: '4',
    OMPI_COMM_WORLD_LOCAL_RANK: '1',
  };
  assert.equal(deviceOfRank(second), '1');
  assert.equal(deviceOfRank({ ...second, CUDA_VISIBLE_DEVICES: '2,3' }), '3');
  assert.equal(deviceOfRank({ ...second, CUDA_VISIBLE_DEVICES: '7' }), '7', 'what the cluster has given out');
  assert.equal(deviceOfRank({ ...second, OMPI_COMM_WORLD_LOCAL_SIZE: '1' }), undefined, 'alone on its machine');
  assert.equal(deviceOfRank({ SLURM_LOCALID: '0' }), undefined);
});
