/**
 * Finding an MPI library and calling it: Open MPI, and all that share MPICH's binary interface (Intel, Cray, MVAPICH).
 */
import type { LibraryHandle } from 'koffi';
import { UnavailableError } from '../errors.js';
import { koffi } from '../foreign-functions.js';

/** A handle travels as a machine word: a pointer in Open MPI, an int in MPICH, which reads the lower half. */
interface Handles {
  world: bigint;
  float32: bigint;
  float64: bigint;
  byte: bigint;
  sum: bigint;
  inPlace: bigint;
}

export interface MpiLibrary {
  /** The loaded library: a name that the system's loader knows, or a path. */
  readonly file: string;
  /** Kind and version, in the library's own words. */
  readonly version: string;
  readonly handles: Handles;
  /** A function by its name in mpi.h; arguments are koffi types, the result an error code. */
  call(name: string, parameters: readonly string[]): (...args: unknown[]) => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

const OPEN_MPI = ['libmpi.so.40', 'libmpi.40.dylib'];
const MPICH = ['libmpi.so.12', 'libmpich.so.12', 'libmpi.12.dylib'];

/** The libraries to try, the launcher's own kind first: the other kind would see only one process. */
function candidates(environment: Environment): string[] {
  if (environment.REPA_MPI_LIBRARY) return [environment.REPA_MPI_LIBRARY];
  const isMpich = environment.OMPI_COMM_WORLD_SIZE === undefined && environment.PMI_SIZE !== undefined;
  return [...(isMpich ? [...MPICH, ...OPEN_MPI] : [...OPEN_MPI, ...MPICH]), 'libmpi.so', 'libmpi.dylib'];
}

/**
 * Loads REPA_MPI_LIBRARY, or else the first library of a usual name. Nothing is initialised yet.
 * @throws UnavailableError when there is none, or it is no MPI library
 */
export function openMpiLibrary(environment: Environment = process.env): MpiLibrary {
  const names = candidates(environment);
  for (const file of names) {
    const library = load(file);
    if (library) return describe(file, library);
  }
  throw new UnavailableError(
    `no MPI library: ${names.join(', ')} cannot be loaded`,
    'Install Open MPI or MPICH, or set REPA_MPI_LIBRARY to the path of its libmpi.',
  );
}

function load(file: string): LibraryHandle | undefined {
  try {
    return koffi.load(file, { global: true }); // Open MPI's plugins look for its symbols
  } catch {
    return undefined;
  }
}

function describe(file: string, library: LibraryHandle): MpiLibrary {
  const call: MpiLibrary['call'] = (name, parameters) => {
    const invoke = bind(file, library, name, parameters);
    return (...args) => {
      const code = invoke(...args);
      if (code !== 0) throw new UnavailableError(`${name} failed with MPI error ${code}`);
    };
  };
  const text = Buffer.alloc(8192); // MPI_MAX_LIBRARY_VERSION_STRING is at most this
  call('MPI_Get_library_version', ['void *', '_Out_ int *'])(text, [0]);
  const [first] = text.toString('latin1').split(/[\0\n,]/);
  const version = first.replace(/\s+/g, ' ').trim();
  const handles = /open mpi/i.test(version) ? openMpiHandles(library) : MPICH_HANDLES;
  return { file, version, handles, call };
}

function bind(file: string, library: LibraryHandle, name: string, parameters: readonly string[]) {
  try {
    return library.func(name, 'int', [...parameters]) as (...args: unknown[]) => number;
  } catch {
    throw new UnavailableError(`${file} is no MPI library: it has no ${name}`);
  }
}

/** Open MPI's handles are the addresses of its objects. */
function openMpiHandles(library: LibraryHandle): Handles {
  const address = (symbol: string): bigint => koffi.address(library.symbol(symbol));
  return {
    world: address('ompi_mpi_comm_world'),
    float32: address('ompi_mpi_float'),
    float64: address('ompi_mpi_double'),
    byte: address('ompi_mpi_byte'),
    sum: address('ompi_mpi_op_sum'),
    inPlace: 1n,
  };
}

/** The numbers that the MPICH ABI Compatibility Initiative has fixed. */
const MPICH_HANDLES: Handles = {
  world: 0x44000000n,
  float32: 0x4c00040an,
  float64: 0x4c00080bn,
  byte: 0x4c00010dn,
  sum: 0x58000003n,
  inPlace: -1n,
};
