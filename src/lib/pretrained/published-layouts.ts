/**
 * Published checkpoints of diffusion transformers that hold the same network in another layout than the official SiT: those of SPRINT
 * (three lists of blocks, patches by a linear map, the fusion's halves and the patches' values the other way round) and of Self-Flow
 * (patches by a linear map). Checked against networks of their published code with random weights.
 */
import type { HostTensor } from '../formats/host-tensor.js';
import { sizeOf, type TypedArray } from '../numbers/typed-array.js';
import type { StateDict, StoredTensor } from './state-dict.js';

/** A tensor of the same type in another shape, its values moved. */
function changed(
  stored: StoredTensor,
  shape: readonly number[],
  move: (data: TypedArray) => TypedArray = (data) => data,
): StoredTensor {
  const read = (): HostTensor => {
    const tensor = stored.read();
    return { ...tensor, shape: [...shape], data: move(tensor.data) } as HostTensor;
  };
  return { ...stored, shape: [...shape], read };
}

/** Rows of a tensor [n, ...] in the order of `from`, by their numbers. */
function rowsFrom(stored: StoredTensor, from: (row: number) => number): StoredTensor {
  const [rows, ...rest] = stored.shape;
  const size = sizeOf(rest);
  return changed(stored, stored.shape, (data) => {
    const out = data.slice();
    for (let row = 0; row < rows; row++) {
      out.set(data.subarray(from(row) * size, (from(row) + 1) * size) as never, row * size);
    }
    return out;
  });
}

/** Columns of a matrix [n, m], its right half first. */
const halvesSwapped = (stored: StoredTensor): StoredTensor => {
  const columns = stored.shape[1];
  return changed(stored, stored.shape, (data) => {
    const out = data.slice();
    for (let i = 0; i < out.length; i++) {
      const [row, column] = [Math.floor(i / columns), i % columns];
      out[i] = data[row * columns + ((column + columns / 2) % columns)];
    }
    return out;
  });
};

/** Side of the patches of these networks. */
const PATCH = 2;

/** The linear map of patches, whose values are those of each channel after another, as a convolution. */
function asConvolution(stored: StoredTensor): StoredTensor {
  const [width, values] = stored.shape;
  return changed(stored, [width, values / PATCH ** 2, PATCH, PATCH]);
}

/** Values of a patch that stand channel by channel, as we have them: place by place. */
function placesFirst(stored: StoredTensor): StoredTensor {
  const channels = stored.shape[0] / PATCH ** 2;
  return rowsFrom(stored, (row) => {
    const [place, channel] = [Math.floor(row / channels), row % channels];
    return channel * PATCH ** 2 + place;
  });
}

/** SPRINT's three lists of blocks as one. */
function sprintNames(names: Iterable<string>): (name: string) => string {
  const all = [...names];
  const count = (list: string): number =>
    new Set(all.flatMap((name) => new RegExp(`^${list}_blocks\\.(\\d+)\\.`).exec(name)?.[1] ?? [])).size;
  const first: Record<string, number> = { encoder: 0, middle: count('encoder') };
  first.decoder = first.middle + count('middle');
  return (name) =>
    name
      .replace(
        /^(encoder|middle|decoder)_blocks\.(\d+)\./,
        (_, list: string, number) => `blocks.${first[list] + Number(number)}.`,
      )
      .replace(/^renoise_linear\./, 'fusion_proj.')
      .replace(/^projectors\.(\d)\./, 'projectors.0.$1.');
}

const FINAL = /^final_layer\.linear\.(weight|bias)$/;

/** A state dict in our layout, of whatever published one. */
export function toOwnLayout(tensors: StateDict): StateDict {
  const embedding = tensors.get('x_embedder.proj.weight');
  if (embedding?.shape.length !== 2 || embedding.shape[1] % PATCH ** 2 !== 0) return tensors;
  const isSprint = tensors.has('renoise_linear.weight');
  const nameOf = isSprint ? sprintNames(tensors.keys()) : (name: string): string => name;
  return new Map(
    [...tensors].map(([name, stored]) => {
      const own = nameOf(name);
      if (stored === embedding) return [own, asConvolution(stored)] as const;
      if (own === 'fusion_proj.weight') return [own, halvesSwapped(stored)] as const;
      return [own, isSprint && FINAL.test(own) ? placesFirst(stored) : stored] as const;
    }),
  );
}
