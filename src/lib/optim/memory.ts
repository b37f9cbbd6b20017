/** Vectors of float32 in WebAssembly memory: SIMD kernels and ONNX Runtime work on them in place, without copies. */
import { readFileSync } from 'node:fs';
import { UnavailableError } from '../errors.js';

interface Arithmetic {
  adamw(
    parameters: number,
    gradients: number,
    firstMoments: number,
    secondMoments: number,
    count: number,
    gradientScale: number,
    beta1: number,
    oneMinusBeta1: number,
    beta2: number,
    oneMinusBeta2: number,
    decay: number,
    stepSize: number,
    rootCorrection: number,
    epsilon: number,
  ): void;
  blend(y: number, x: number, count: number, a: number, b: number): void;
  sumOfSquares(x: number, count: number): number;
}

/** A cache line, in floats: vectors start and end at one. */
const ALIGNMENT = 16;
const PAGE_BYTES = 65536;
export const BYTES_PER_FLOAT = 4;

/** Floats that a vector of this length takes, aligned. */
export const alignedLength = (length: number): number => Math.ceil(length / ALIGNMENT) * ALIGNMENT;

let compiled: WebAssembly.Module | undefined;

/** Several vectors of the same length in one memory, by name. */
export class VectorMemory {
  readonly length: number;
  readonly vectors: readonly string[];
  readonly arithmetic: Arithmetic;
  readonly #buffer: ArrayBuffer;

  /**
   * @param length floats of each vector, aligned
   * @throws UnavailableError when memory runs out
   */
  constructor(length: number, vectors: readonly string[]) {
    // Never grown: growing would detach the views that tensors hold.
    const pages = Math.ceil((vectors.length * length * BYTES_PER_FLOAT) / PAGE_BYTES);
    const memory = allocate(Math.max(pages, 1));
    compiled ??= new WebAssembly.Module(readFileSync(new URL('./arithmetic.wasm', import.meta.url)));
    const instance = new WebAssembly.Instance(compiled, { repa: { memory } });
    this.arithmetic = instance.exports as unknown as Arithmetic;
    this.#buffer = memory.buffer;
    this.length = length;
    this.vectors = vectors;
  }

  /** Byte address of a vector. */
  address(vector: string): number {
    const index = this.vectors.indexOf(vector);
    if (index < 0) throw new Error(`this memory has no vector ${vector}`);
    return index * this.length * BYTES_PER_FLOAT;
  }

  /** y = a y + b x, for vectors of this memory. */
  blend(y: string, x: string, a: number, b: number): void {
    this.arithmetic.blend(this.address(y), this.address(x), this.length, a, b);
  }

  /** Part of a vector, or all of it. */
  view(vector: string, start = 0, length = this.length): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#buffer, this.address(vector) + start * BYTES_PER_FLOAT, length);
  }
}

function allocate(pages: number): WebAssembly.Memory {
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages });
  } catch {
    throw new UnavailableError(
      `out of memory: ${Math.ceil((pages * PAGE_BYTES) / 2 ** 20)} MiB of parameters and optimizer state do not fit`,
      'Choose a smaller --model, or a machine with more memory.',
    );
  }
}
