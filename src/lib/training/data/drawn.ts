/** The inputs of a loss, micro-batch by micro-batch. While a device computes one, the next is drawn and sent to it. */
import type { PlacedBatch } from '../../diffusion/draws.js';
import type { TypedArray } from '../../numbers/typed-array.js';
import type { CompiledLoss } from '../compiled-loss.js';
import type { Stopwatch } from '../stopwatch.js';

export interface BatchSource {
  next(watch: Stopwatch): Promise<PlacedBatch>;
}

interface Ahead {
  readonly batch: Promise<PlacedBatch>;
  /** What was drawn of it, and for which loss. */
  drawn?: { loss: CompiledLoss; values: TypedArray[] };
}

export class DrawnBatches {
  readonly #source: BatchSource;
  readonly #watchAhead: Stopwatch | undefined;
  #left: number;
  #ahead: Ahead | undefined;

  /**
   * @param count how many batches there are
   * @param watchAhead takes the time of what is drawn ahead, for which no step waits; without it nothing is drawn ahead
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
    // Where a method has stopped, the loss is another and reads other things.
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
