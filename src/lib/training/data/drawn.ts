/** What a loss reads of each micro-batch. Where a device computes, the next one is drawn, and sent to it, meanwhile. */
import type { PlacedBatch } from '../../diffusion/draws.js';
import type { TypedArray } from '../../numbers/typed-array.js';
import type { CompiledLoss } from '../compiled-loss.js';
import type { Stopwatch } from '../stopwatch.js';

export interface BatchSource {
  next(watch: Stopwatch): Promise<PlacedBatch>;
}

interface Ahead {
  readonly batch: Promise<PlacedBatch>;
  /** Of which loss it was drawn, and what. */
  drawn?: { loss: CompiledLoss; values: TypedArray[] };
}

export class DrawnBatches {
  readonly #source: BatchSource;
  readonly #watchAhead: Stopwatch | undefined;
  #left: number;
  #ahead: Ahead | undefined;

  /**
   * @param count how many batches there are
   * @param watchAhead takes the time of what is done ahead, which no step waits for; where there is none, nothing is
   */
  constructor(source: BatchSource, count: number, watchAhead?: Stopwatch) {
    this.#source = source;
    this.#left = count;
    this.#watchAhead = watchAhead;
  }

  /** The next batch as `loss` reads it. @throws what reading it threw */
  async next(loss: CompiledLoss, watch: Stopwatch): Promise<TypedArray[]> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (!ahead) this.#left--;
    const batch = ahead ? await watch.time('data', () => ahead.batch) : await this.#source.next(watch);
    // Where methods have come to their end, another loss reads other things.
    if (ahead?.drawn?.loss === loss) return ahead.drawn.values;
    return watch.time('data', () => loss.prepare(batch));
  }

  /** Begins the next batch, while `loss` is computed. */
  begin(loss: CompiledLoss): void {
    const watch = this.#watchAhead;
    if (!watch || this.#left === 0 || this.#ahead) return;
    this.#left--;
    const batch = this.#source.next(watch);
    const ahead: Ahead = { batch };
    this.#ahead = ahead;
    const draw = async () => {
      const values = loss.prepare(await batch);
      if (this.#ahead !== ahead) return; // it was asked for before it was ready
      ahead.drawn = { loss, values };
      loss.stage(values);
    };
    draw().catch(() => {}); // whoever asks for it is told
  }
}
