/** Wall times of one step, and of its parts by name. */
export class Stopwatch {
  readonly #started = performance.now();
  readonly #spent = new Map<string, number>();

  /** Runs `work`, and adds its time to that of `name`. */
  async time<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.#spent.set(name, (this.#spent.get(name) ?? 0) + performance.now() - started);
    }
  }

  /** Seconds that were spent under a name. */
  seconds(name: string): number {
    return (this.#spent.get(name) ?? 0) / 1000;
  }

  /** Seconds since the start. */
  get total(): number {
    return (performance.now() - this.#started) / 1000;
  }
}
