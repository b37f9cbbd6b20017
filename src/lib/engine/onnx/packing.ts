/** Operands that programs read in another layout, which is made once for all programs that read it. */

/** Gives an array, which does not change, in a layout of this name, as `pack` makes it. */
export type Packing = (
  array: Float32Array,
  layout: string,
  pack: (array: Float32Array) => Float32Array,
) => Float32Array;

interface Packed {
  readonly data: Float32Array;
  users: number;
}

export class PackedArrays {
  /** By what they were made of, which is not kept alive for them. */
  readonly #known = new WeakMap<Float32Array, Map<string, Packed>>();

  /** For one program; `release` gives up what was asked for: it is made anew once no program has it. */
  user(): { packing: Packing; release(): void } {
    const taken: { layouts: Map<string, Packed>; layout: string }[] = [];
    return {
      packing: (array, layout, pack) => {
        const layouts = this.#known.get(array) ?? new Map<string, Packed>();
        this.#known.set(array, layouts);
        const packed = layouts.get(layout) ?? { data: pack(array), users: 0 };
        packed.users++;
        layouts.set(layout, packed);
        taken.push({ layouts, layout });
        return packed.data;
      },
      release: () => {
        for (const { layouts, layout } of taken.splice(0)) {
          if (--layouts.get(layout)!.users === 0) layouts.delete(layout);
        }
      },
    };
  }
}
