/** Tells whether processes of this machine still run. */
import { readFileSync, readlinkSync } from 'node:fs';

/** Process ids mean something only within one of these. */
export function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return ''; // only Linux has them
  }
}

/** States of a process that has ended, but whose parent has not asked for it yet. */
const ENDED = new Set(['Z', 'X']);

/** Whether there is a process of this number that has not ended. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // Otherwise it runs, but is not ours to signal.
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  const [state] = statOf(pid) ?? [];
  return state === undefined || !ENDED.has(state);
}

/** When a process began, in ticks since the boot; where the system tells. */
export const startOf = (pid: number): string | undefined => statOf(pid)?.[19];

/** The fields of /proc/PID/stat from the third on: the second, a name in brackets, may hold spaces. */
function statOf(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined; // no such process, or no Linux
  }
}
