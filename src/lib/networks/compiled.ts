/** Functions of one image tensor, compiled once for each shape that they meet. */
import { type Captured, capture, type tf } from '../engine/index.js';

export class CompiledByShape {
  readonly #prepare: () => (x: tf.Tensor) => tf.Tensor[];
  readonly #programs = new Map<string, Captured>();

  /**
   * @param prepare makes the function, reading its frozen weights; called for each shape, so that nothing has to keep
   *   the weights once they are compiled
   */
  constructor(prepare: () => (x: tf.Tensor) => tf.Tensor[]) {
    this.#prepare = prepare;
  }

  /** The results for `data`, a tensor of this shape. */
  run(data: Float32Array, shape: readonly number[]): Float32Array[] {
    const key = shape.join();
    const program = this.#programs.get(key) ?? this.#compile(shape);
    this.#programs.set(key, program);
    return program.run(data) as Float32Array[];
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose();
    this.#programs.clear();
  }

  #compile(shape: readonly number[]): Captured {
    const fn = this.#prepare();
    return capture((x) => fn(x), [{ shape, dtype: 'float32' }], { constants: 'bake' });
  }
}
