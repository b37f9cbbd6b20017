/** Clean-ups for a signal that ends the process, such as the removal of a temporary file. */
const cleanups = new Set<() => void>();

/** Registers a clean-up; returns how to unregister it, once there is nothing left to undo. */
export function onInterrupt(cleanup: () => void): () => void {
  cleanups.add(cleanup);
  return () => cleanups.delete(cleanup);
}

/** Undoes all of it, in the order in which it was begun. */
export function undoUnfinished(): void {
  for (const cleanup of cleanups) {
    try {
      cleanup();
    } catch {
      // The others are undone all the same.
    }
  }
}
