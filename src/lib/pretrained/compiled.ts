/** A function of each image of a batch, compiled once for each shape of image. */
import { type Captured, capture, type tf } from '../engine/index.js';
import { concatenated, sizeOf } from '../numbers/typed-array.js';

interface Compiled {
  program: Captured;
  /** Images of one run. */
  rows: number;
}

export class CompiledByImage {
  readonly #prepare: () => (x: tf.Tensor) => tf.Tensor[];
  readonly #compiled = new Map<string, Compiled>();

  /**
   * @param prepare makes the function, reading its frozen weights; called for each shape, so that nothing has to keep
   *   the weights once they are compiled
   */
  constructor(prepare: () => (x: tf.Tensor) => tf.Tensor[]) {
    this.#prepare = prepare;
  }

  /**
   * The results for `data`, a tensor of this shape: [N, ...]. It runs as many images at a time as there were when this
   * shape of image was first seen: another number would have to be compiled, which takes time and memory.
   */
  run(data: Float32Array, [images, ...shape]: readonly number[]): Float32Array[] {
    const { program, rows } = this.#compiledFor(images, shape);
    if (images === rows) return program.run(data) as Float32Array[];
    const size = sizeOf(shape);
    const parts: Float32Array[][] = [];
    for (let start = 0; start < images; start += rows) {
      const end = Math.min(start + rows, images);
      const batch = new Float32Array(rows * size);
      batch.set(data.subarray(start * size, end * size));
      const outputs = program.run(batch) as Float32Array[];
      parts.push(outputs.map((output) => output.subarray(0, (output.length / rows) * (end - start))));
    }
    return parts[0].map((_, output) =>
      concatenated(
        parts.map((outputs) => outputs[output]),
        Float32Array,
      ),
    );
  }

  dispose(): void {
    for (const { program } of this.#compiled.values()) program.dispose();
    this.#compiled.clear();
  }

  #compiledFor(rows: number, shape: readonly number[]): Compiled {
    const key = shape.join();
    const known = this.#compiled.get(key);
    if (known) return known;
    const fn = this.#prepare();
    const specs = [{ shape: [rows, ...shape], dtype: 'float32' }] as const;
    const compiled = { program: capture((x) => fn(x), specs, { constants: 'bake', byRow: true }), rows };
    this.#compiled.set(key, compiled);
    return compiled;
  }
}
