/** Steps of parameters in the host's memory, in place, by SIMD kernels. */
import { adamw, clipCoefficient } from './adamw.js';
import { averageVector, type Layout, type ParameterGroup } from './layout.js';
import type { VectorMemory } from './memory.js';
import { Muon } from './muon.js';
import type { StepOptions, Steps } from './steps.js';

export class ProcessorSteps implements Steps {
  readonly #adamw: readonly ParameterGroup[];
  readonly #muon: readonly ParameterGroup[];
  readonly #frozen: readonly ParameterGroup[];
  readonly #orthogonal = new Muon();

  constructor({ groups }: Layout) {
    this.#adamw = groups.adamw;
    this.#muon = groups.muon;
    this.#frozen = groups.frozen;
  }

  get #learned(): VectorMemory[] {
    return [...this.#adamw, ...this.#muon].map(({ memory }) => memory);
  }

  /** All gradients in a few long arrays. */
  gradientBuffers(): Float32Array<ArrayBuffer>[] {
    return this.#learned.map((memory) => memory.view('gradient'));
  }

  gradientNorm(): number {
    const squares = this.#learned.map((memory) =>
      memory.arithmetic.sumOfSquares(memory.address('gradient'), memory.length),
    );
    return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  }

  accumulate(): void {
    for (const memory of this.#learned) memory.blend('accumulated', 'gradient', 1, 1);
  }

  average(batches: number): void {
    for (const memory of this.#learned) {
      memory.blend('gradient', 'accumulated', 1 / batches, 1 / batches);
      memory.view('accumulated').fill(0);
    }
  }

  step({ clip, emaDecays, ...options }: StepOptions): number {
    const norm = this.gradientNorm();
    if (!Number.isFinite(norm)) return norm;
    const gradientScale = clip === null ? 1 : clipCoefficient(norm, clip);
    for (const { memory } of this.#adamw) adamw(memory, options, gradientScale);
    for (const group of this.#muon) this.#orthogonal.step(group, options, gradientScale);
    for (const { memory } of [...this.#adamw, ...this.#muon, ...this.#frozen]) {
      emaDecays.forEach((decay, i) => {
        memory.blend(averageVector(i), 'value', decay, 1 - decay);
      });
    }
    return norm;
  }

  dispose(): void {
    this.#orthogonal.dispose();
  }
}
