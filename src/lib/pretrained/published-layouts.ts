/**
 * Published checkpoints of diffusion transformers that hold the same network in another layout than the official SiT:
 * those of SPRINT (three lists of blocks, patches by a linear map, the halves of the fusion and the values of
 * patches in reverse order), of Self-Flow (patches by a linear map) and of RAEv2 (separate maps that are one here, and
 * other names). Checked against networks of their published code with random weights.
 */
import { DataError } from '../errors.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { concatenated, sizeOf, stackedShape, type TypedArray } from '../numbers/typed-array.js';
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

/** A matrix [n, m] with its right half of columns first. */
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

/** The linear map of patches, whose inputs are ordered channel by channel, as a convolution. */
function asConvolution(stored: StoredTensor): StoredTensor {
  const [width, values] = stored.shape;
  return changed(stored, [width, values / PATCH ** 2, PATCH, PATCH]);
}

/** Reorders the values of a patch from channel by channel to pixel by pixel, as we have them. */
function placesFirst(stored: StoredTensor): StoredTensor {
  const channels = stored.shape[0] / PATCH ** 2;
  return rowsFrom(stored, (row) => {
    const [place, channel] = [Math.floor(row / channels), row % channels];
    return channel * PATCH ** 2 + place;
  });
}

/** Renames SPRINT's three lists of blocks as one list. */
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

/** Maps that RAEv2 keeps separate: the first of each, all of its parts, and the one map that they are here. */
const APART: readonly [first: RegExp, parts: readonly string[], whole: string][] = [
  [/\.attn\.q\.(weight|bias)$/, ['q', 'k', 'v'], 'qkv'],
  [/\.mlp\.w1\.(weight|bias)$/, ['w1', 'w2'], 'w12'],
];

/** Stacks tensors along their first axis. */
const stacked = (parts: readonly StoredTensor[]): StoredTensor => {
  const shape = stackedShape(parts.map((part) => part.shape));
  const read = (): HostTensor => {
    const tensors = parts.map((part) => part.read());
    const type = tensors[0].data.constructor as Float32ArrayConstructor; // that of each, as they are of one file
    return {
      ...tensors[0],
      shape,
      data: concatenated(
        tensors.map(({ data }) => data as Float32Array),
        type,
      ),
    } as HostTensor;
  };
  return { ...parts[0], shape, read };
};

/** Turns RAEv2's names into ours; the head of its early block gets the names of Internal Guidance. */
const tokenNames = (name: string): string =>
  name
    .replace(/^ctx_embedder\./, 'y_embedder.')
    .replace(/^base_final_layer\./, 'final_layer_xr.')
    .replace(/^(final_layer|final_layer_xr)\.norm\./, '$1.norm_final.')
    .replace('adaln_modulation', 'adaLN_modulation');

/** @throws DataError for a map of which a part is missing */
function fromTokenLayout(tensors: StateDict): StateDict {
  const own = new Map<string, StoredTensor>();
  for (const [name, stored] of tensors) {
    if (/\.attn\.[kv]\.|\.mlp\.w2\./.test(name)) continue;
    const joined = APART.find(([first]) => first.test(name));
    if (!joined) {
      own.set(tokenNames(name), stored);
      continue;
    }
    const [, names, whole] = joined;
    const nameOf = (part: string): string => name.replace(`.${names[0]}.`, `.${part}.`);
    const parts = names.map((part) => {
      const found = tensors.get(nameOf(part));
      if (found) return found;
      throw new DataError(`the weights have ${name}, but no ${nameOf(part)}`);
    });
    own.set(nameOf(whole), stacked(parts));
  }
  return own;
}

const FINAL = /^final_layer\.linear\.(weight|bias)$/;

/** A state dict of any published layout, in our layout. */
export function toOwnLayout(tensors: StateDict): StateDict {
  if (tensors.has('ctx_embedder.learnable_tokens')) return fromTokenLayout(tensors);
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
