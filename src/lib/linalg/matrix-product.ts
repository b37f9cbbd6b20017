/**
 * Matrix products on host arrays, in f64 as well, which tfjs does not have. They run on ONNX Runtime whatever the
 * backend, and stay out of index.ts so that other verbs do not load it for nothing.
 */
import type { OnnxGraph } from '../engine/onnx/model.js';
import { SessionCache } from '../engine/onnx/session-cache.js';
import { engineInfo } from '../engine/select.js';

/** A row-major matrix in host memory. */
export interface Matrix<T extends Float32Array | Float64Array = Float64Array> {
  readonly rows: number;
  readonly columns: number;
  readonly data: T;
}

export interface ProductOptions<T> {
  transposeA?: boolean;
  transposeB?: boolean;
  /** Where the result goes, instead of to a new array. */
  into?: T;
}

/** Blocked algorithms meet a handful of shapes, and an odd one at each end. */
const sessions = new SessionCache(16);

/**
 * op(A) op(B), where op may transpose. All arrays are f64, or all f32. Needs a selected backend, for its threads.
 * @throws UnavailableError when memory runs out
 */
export function matrixProduct<T extends Float32Array | Float64Array>(
  a: Matrix<T>,
  b: Matrix<T>,
  { transposeA = false, transposeB = false, into }: ProductOptions<T> = {},
): Matrix<T> {
  const [rows, inner] = transposeA ? [a.columns, a.rows] : [a.rows, a.columns];
  const [innerB, columns] = transposeB ? [b.columns, b.rows] : [b.rows, b.columns];
  if (inner !== innerB) throw new Error(`cannot multiply ${rows} x ${inner} by ${innerB} x ${columns}`);
  const dtype = a.data instanceof Float32Array ? 'float32' : 'float64';
  const graph: OnnxGraph = {
    nodes: [
      {
        type: 'Gemm',
        domain: '',
        attributes: { transA: Number(transposeA), transB: Number(transposeB) },
        inputs: ['a', 'b'],
        outputs: ['c'],
      },
    ],
    inputs: [
      { name: 'a', dtype, shape: [a.rows, a.columns] },
      { name: 'b', dtype, shape: [b.rows, b.columns] },
    ],
    outputs: [{ name: 'c', dtype, shape: [rows, columns] }],
    initializers: [],
  };
  const session = sessions.get(graph, engineInfo().threads);
  const [data] = session.run([a.data, b.data], [into ?? null]);
  return { rows, columns, data: data as T };
}
