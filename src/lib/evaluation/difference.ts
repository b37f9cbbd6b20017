/** The difference between the tensors of two files. */

/** The difference over all values of a column or a tensor. */
export interface Difference {
  /** Column or tensor. */
  name: string;
  values: number;
  /** Values that are not equal; NaN equals NaN. */
  different: number;
  /** The largest |a - b|, NaN where one of the two is not finite and the other is something else. */
  largest: number;
  /** The root of the mean of (a - b)^2. */
  rms: number;
  /** `rms` divided by the root of the mean of a^2; 0 where nothing differs. */
  relative: number;
}

/** Sums over values that come in parts, in f64. */
export class DifferenceSum {
  readonly name: string;
  #values = 0;
  #different = 0;
  #largest = 0;
  #squares = 0;
  #size = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** Adds the values of two arrays of one length. */
  add(a: ArrayLike<number>, b: ArrayLike<number>): void {
    this.#values += a.length;
    for (let i = 0; i < a.length; i++) {
      this.#size += a[i] * a[i];
      if (Object.is(a[i], b[i]) || a[i] === b[i]) continue;
      const distance = Math.abs(a[i] - b[i]);
      this.#different++;
      this.#squares += distance * distance;
      // A NaN stays, whatever follows.
      if (!(distance <= this.#largest)) this.#largest = Number.isNaN(this.#largest) ? Number.NaN : distance;
    }
  }

  get difference(): Difference {
    const rms = Math.sqrt(this.#squares / Math.max(1, this.#values));
    const size = Math.sqrt(this.#size / Math.max(1, this.#values));
    return {
      name: this.name,
      values: this.#values,
      different: this.#different,
      largest: this.#largest,
      rms,
      relative: this.#different === 0 ? 0 : rms / size,
    };
  }
}
