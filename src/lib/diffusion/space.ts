/** The space of the host's memory: states of samplers are arrays. */
import type { Space, Values, Weight } from '../engine/index.js';

export type { MaybePromise, Space, Values } from '../engine/index.js';

/** Calls `write` with each row's part of an array. */
function byRow(length: number, rows: number, write: (row: number, start: number, end: number) => void): void {
  const size = length / rows;
  for (let row = 0; row < rows; row++) write(row, row * size, (row + 1) * size);
}

function combine(weights: readonly Weight[], terms: readonly Values[]): Float64Array {
  const out = new Float64Array(terms[0].length);
  terms.forEach((term, k) => {
    const weight = weights[k];
    const perRow = typeof weight === 'number' ? Float64Array.of(weight) : weight;
    byRow(out.length, perRow.length, (row, start, end) => {
      const factor = perRow[row];
      if (k === 0) for (let i = start; i < end; i++) out[i] = factor * term[i];
      else for (let i = start; i < end; i++) out[i] += factor * term[i];
    });
  });
  return out;
}

/** The host's memory. */
const HOST: Space<Values, Float32Array> = {
  from: (values) => values,
  single: (state) => new Float32Array(state),
  combine,
  choose(marked, a, b) {
    const out = new Float64Array(b);
    byRow(out.length, marked.length, (row, start, end) => {
      if (marked[row]) out.set(a.subarray(start, end), start);
    });
    return out;
  },
  ratios(values, [a, b], { absolute, relative }, rows) {
    const ratios = new Float64Array(rows);
    byRow(values.length, rows, (row, start, end) => {
      let sum = 0;
      for (let i = start; i < end; i++) {
        sum += (values[i] / (absolute + relative * Math.max(Math.abs(a[i]), Math.abs(b[i])))) ** 2;
      }
      ratios[row] = Math.sqrt(sum / (end - start));
    });
    return ratios;
  },
  twice(x) {
    const both = new Float32Array(2 * x.length);
    both.set(x);
    both.set(x, x.length);
    return both;
  },
  halves: (x) => [x.subarray(0, x.length / 2), x.subarray(x.length / 2)],
  sizeOf: (x, rows) => x.length / rows,
  columns(x, start, end, rows) {
    const out = new Float64Array(rows * (end - start));
    byRow(x.length, rows, (row, first) => {
      out.set(x.subarray(first + start, first + end), row * (end - start));
    });
    return out;
  },
  join(parts, rows) {
    const sizes = parts.map(({ length }) => length / rows);
    const out = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
    byRow(out.length, rows, (row, first) => {
      let at = first;
      parts.forEach((part, k) => {
        out.set(part.subarray(row * sizes[k], (row + 1) * sizes[k]), at);
        at += sizes[k];
      });
    });
    return out;
  },
  read: (x) => (x instanceof Float64Array ? x : Float64Array.from(x)),
  keep() {},
};

/** The default space: its states are arrays. */
export const hostSpace = <State, Input>(): Space<State, Input> => HOST as unknown as Space<State, Input>;
