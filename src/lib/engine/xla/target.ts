/** Recorded graphs computed by XLA: compiled programs, whose weights stay on the device. */
import { sizeOf, type TypedArray } from '../../numbers/typed-array.js';
import type { Program } from '../engine.js';
import type { Target } from '../graph/target.js';
import { ARRAYS, type Value } from '../graph/value.js';
import type { Client, DeviceBuffer } from './client.js';
import { lower } from './lower/index.js';
import type { Products } from './lower/writer.js';
import type { ProgramCache } from './program-cache.js';

export class XlaTarget implements Target {
  constructor(
    readonly client: Client,
    readonly programs: ProgramCache,
    readonly products: Products,
  ) {}

  evaluate(wanted: readonly Value[]): TypedArray[] {
    const { text, feeds } = lower(wanted, [], { products: this.products });
    const inputs = feeds.map((feed) => upload(this.client, feed, feed.data!));
    const [outputs] = this.programs.eager(text).run([inputs]);
    return collect(wanted, outputs, inputs);
  }

  load(outputs: readonly Value[], inputs: readonly Value[], constants: 'feed' | 'bake'): Program {
    const { text, feeds } = lower(outputs, inputs, { products: this.products });
    const executable = this.programs.compile(text);
    // What will not change goes up once, and stays there.
    const weights = feeds.slice(inputs.length);
    const resident = constants === 'bake' ? weights.map((feed) => upload(this.client, feed, feed.data!)) : null;
    const hostWeights = resident ? [] : weights.map((feed) => feed.data!);
    return {
      run: (data, into = []) => {
        const given = data.map((array, i) => upload(this.client, feeds[i], array));
        const sent = hostWeights.map((array, i) => upload(this.client, weights[i], array));
        const [results] = executable.run([[...given, ...(resident ?? sent)]]);
        return collect(outputs, results, [...given, ...sent], into);
      },
      dispose: () => {
        for (const buffer of resident ?? []) buffer.dispose();
        executable.dispose();
      },
    };
  }

  clear(): void {
    this.programs.clear();
  }
}

export const upload = (client: Client, { dtype, shape }: Value, data: TypedArray): DeviceBuffer =>
  client.upload(data, shape, dtype);

/** The results in host memory; all buffers are at their end. */
function collect(
  wanted: readonly Value[],
  outputs: readonly DeviceBuffer[],
  inputs: readonly DeviceBuffer[],
  into: readonly (TypedArray | null)[] = [],
): TypedArray[] {
  try {
    return outputs.map((buffer, i) => {
      const { dtype, shape } = wanted[i];
      const array = into[i] ?? new ARRAYS[dtype](sizeOf(shape));
      buffer.read(array);
      return array;
    });
  } finally {
    for (const buffer of [...outputs, ...inputs]) buffer.dispose();
  }
}
