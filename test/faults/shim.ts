/** The library that lets a process's calls of the file system fail: compiled of shim.c, and what it is told. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

// Compiled tests lie in dist/test; what is not TypeScript stays in test.
const SOURCE = fileURLToPath(new URL('../../../test/faults/shim.c', import.meta.url));

/** What happens, at which change of the file system, with which signal or errno: as shim.c tells. */
export interface Fault {
  readonly mode: 'kill' | 'torn' | 'fail' | 'full' | 'gone' | 'short' | 'again';
  readonly at: number;
  readonly number?: number;
}

/** @returns the library, made in `folder`; undefined where no C compiler is, or it knows no such library */
export function compileShim(folder: string): string | undefined {
  const library = path.join(folder, 'shim.so');
  const { status } = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, SOURCE, '-ldl'], { stdio: 'ignore' });
  return status === 0 ? library : undefined;
}

/**
 * The environment of a process that meets a fault.
 * @param told a file that gets a line when it has happened
 * @param under where files are read and written in pieces
 */
export const faultEnvironment = (
  shim: string,
  { mode, at, number = 0 }: Fault,
  told: string,
  under: string,
): Record<string, string> => ({
  LD_PRELOAD: shim,
  REPA_FAULT: `${mode}:${at}:${number}`,
  REPA_FAULT_TOLD: told,
  REPA_FAULT_UNDER: under,
  UV_USE_IO_URING: '0', // whose calls no library sees
});
