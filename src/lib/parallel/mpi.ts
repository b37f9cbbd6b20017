/** A process group over MPI. Errors inside MPI end all processes: that is its default, and what we want. */
import { UnavailableError } from '../errors.js';
import type { ProcessGroup } from './group-interface.js';
import { openMpiLibrary } from './mpi-library.js';

/** Elements of one MPI call (4 MiB of float32): each bucket stays in the caches, twice as fast as one call for all. */
const BUCKET = 2 ** 20;
const WORD = 'intptr_t';

/**
 * Initialises MPI.
 * @param launched how many processes the launcher says that it started
 * @throws UnavailableError when there is no MPI library, or it does not see the launcher's processes
 */
export function joinMpi(launched: number, environment = process.env): ProcessGroup {
  const { file, version, handles, call } = openMpiLibrary(environment);
  const query = (name: string): number => {
    const answer = [0];
    call(name, [WORD, '_Out_ int *'])(handles.world, answer);
    return answer[0];
  };
  const allReduce = call('MPI_Allreduce', [WORD, 'void *', 'int', WORD, WORD, WORD]);
  const broadcast = call('MPI_Bcast', ['void *', 'int', WORD, 'int', WORD]);
  const finalize = call('MPI_Finalize', []);
  const abort = call('MPI_Abort', [WORD, 'int']);

  call('MPI_Init', ['void *', 'void *'])(null, null);
  const size = query('MPI_Comm_size');
  if (size === 1) {
    finalize();
    throw new UnavailableError(
      `the launcher started ${launched} processes, but ${version} (${file}) sees only itself`,
      'The library and the launcher do not belong together: set REPA_MPI_LIBRARY to the libmpi of this mpirun; under Slurm, use srun --mpi=pmix or --mpi=pmi2.',
    );
  }
  let member = true;
  // A process that exited without a word would leave the others waiting for ever.
  process.on('exit', (code) => {
    if (member) abort(handles.world, code || 1);
  });
  return {
    rank: query('MPI_Comm_rank'),
    size,
    sum(values) {
      const type = values instanceof Float32Array ? handles.float32 : handles.float64;
      for (let start = 0; start < values.length; start += BUCKET) {
        const bucket = values.subarray(start, start + BUCKET);
        allReduce(handles.inPlace, bucket, bucket.length, type, handles.sum, handles.world);
      }
    },
    broadcast: (bytes) => broadcast(bytes, bytes.length, handles.byte, 0, handles.world),
    leave() {
      member = false;
      finalize();
    },
  };
}
