/** Paths as headers keep them. */
import path from 'node:path';

/**
 * A path relative to the folder where the program runs: it leads there again from the same place, and names neither the
 * user nor where the work lies on this machine. Devices keep their names.
 */
export function portablePath(file: string): string {
  if (file.startsWith('/dev/')) return file;
  return path.relative(process.cwd(), path.resolve(file)) || '.';
}
