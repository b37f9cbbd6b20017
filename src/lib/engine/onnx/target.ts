/** Recorded graphs computed by ONNX Runtime: loaded as ONNX models, those of eager tensors out of a cache. */
import type { CompileOptions, Constants, Program } from '../engine.js';
import type { Target } from '../graph/target.js';
import type { Value } from '../graph/value.js';
import { constantOperands } from './baking.js';
import { lower } from './lower/index.js';
import { CPU_LOWERING, type Lowering } from './lower/lowering.js';
import { type ExternalData, encodeModel } from './model.js';
import { PackedArrays, type Packing } from './packing.js';
import { collectGarbage, returnLargeBlocks } from './reclaim.js';
import { Session } from './session.js';
import { SessionCache } from './session-cache.js';

const CACHED_SESSIONS = 64;
/** Bytes of weights from which on their garbage is worth the 10 ms. */
const WORTH_COLLECTING = 16 * 2 ** 20;

export class OnnxTarget implements Target {
  readonly #sessions = new SessionCache(CACHED_SESSIONS);
  readonly #packed = new PackedArrays();
  readonly #threads: number;
  readonly #lowering: Lowering;

  constructor(threads: number, lowering: Lowering = CPU_LOWERING) {
    this.#threads = threads;
    this.#lowering = lowering;
  }

  evaluate(wanted: readonly Value[]) {
    const { graph, feeds } = lower(wanted, this.#lowering, () => false);
    return this.#sessions.get(graph, this.#threads).run(feeds.map((feed) => feed.data!));
  }

  load(
    outputs: readonly Value[],
    inputs: readonly Value[],
    constants: Constants,
    { precision }: CompileOptions = {},
  ): Program {
    const lowering = precision === 'f32' ? CPU_LOWERING : this.#lowering;
    const { packing, release } = this.#packed.user();
    const { session, feeds, bakedBytes } = open(outputs, constants, lowering, this.#threads, packing);
    // Once the caller has let go of what was baked: not yet here.
    let isGarbageLeft = bakedBytes > WORTH_COLLECTING;
    const positions = feeds.map((feed) => inputs.indexOf(feed));
    const kept = feeds.map((feed) => feed.data !== null);
    return {
      run(data, into) {
        if (isGarbageLeft) collectGarbage();
        isGarbageLeft = false;
        return session.run(
          feeds.map((feed, index) => feed.data ?? data[positions[index]]),
          into,
          kept,
        );
      },
      dispose: () => {
        session.dispose();
        release();
      },
    };
  }

  fetch(): void {}

  clear(): void {
    this.#sessions.clear();
  }
}

/** A session that computes `outputs` of `feeds`. What is baked into it can be forgotten: nothing here refers to it. */
function open(outputs: readonly Value[], constants: Constants, lowering: Lowering, threads: number, packing: Packing) {
  const baked = constantOperands(outputs, constants, lowering);
  const { graph, feeds } = lower(outputs, lowering, (leaf) => baked.has(leaf), packing);
  // Weights that are part of a model's message are in memory four times while it loads.
  const externalData: ExternalData[] = [];
  const model = encodeModel(graph, externalData);
  const bakedBytes = [...baked].reduce((sum, { data }) => sum + data!.byteLength, 0);
  if (bakedBytes > WORTH_COLLECTING) returnLargeBlocks();
  const session = new Session(graph, model, { threads, reused: true, externalData });
  return { session, feeds, bakedBytes };
}
