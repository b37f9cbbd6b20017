/** How many pixels all threads of the process may be decoding at once: large pictures take turns. */

/** A picture of more has the budget to itself; sharp's own limit on one is 2^28. At 3 or 4 bytes each, with copies. */
export const MOST_PIXELS = 2 ** 26;

export class PixelBudget {
  /** Handed from thread to thread. */
  readonly shared: SharedArrayBuffer;
  readonly #free: Int32Array;

  constructor(shared?: SharedArrayBuffer) {
    this.shared = shared ?? new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    this.#free = new Int32Array(this.shared);
    if (!shared) this.#free[0] = MOST_PIXELS;
  }

  /** Waits until so many pixels fit beside those of other threads. Stops the thread, so it is not for the main one. */
  take(pixels: number): number {
    const taken = Math.min(pixels, MOST_PIXELS);
    for (;;) {
      const free = Atomics.load(this.#free, 0);
      if (free < taken) Atomics.wait(this.#free, 0, free);
      else if (Atomics.compareExchange(this.#free, 0, free, free - taken) === free) return taken;
    }
  }

  /** Gives back what `take` returned. */
  give(taken: number): void {
    Atomics.add(this.#free, 0, taken);
    Atomics.notify(this.#free, 0);
  }
}
