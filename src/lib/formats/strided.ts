/** Any strided view of a storage as a row-major array: Fortran order, transposes, slices, broadcasts. */
import { sizeOf, type TypedArray } from '../numbers/typed-array.js';

/** Strides in elements of a row-major array of this shape. */
export function rowMajorStrides(shape: readonly number[]): number[] {
  return shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
}

/** Whether these strides walk the elements in storage order without gaps; axes of one element have no say. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  const expected = rowMajorStrides(shape);
  return sizeOf(shape) === 0 || shape.every((dim, axis) => dim === 1 || strides[axis] === expected[axis]);
}

/**
 * Copies the view that starts at the first element of `storage` into a row-major array.
 * @param strides in elements; the caller has checked that every index lies within `storage`.
 */
export function gatherStrided<T extends TypedArray>(
  storage: T,
  shape: readonly number[],
  strides: readonly number[],
): T {
  const Storage = storage.constructor as new (length: number) => T;
  const out = new Storage(sizeOf(shape));
  const index = new Array<number>(shape.length).fill(0);
  let at = 0;
  for (let i = 0; i < out.length; i++) {
    out[i] = storage[at];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}
