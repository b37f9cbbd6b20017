/** GELU (arXiv 1606.08415) and its derivative, of elementary operations: for targets that have no kernels of them. */

/** What a target does with its values, and with numbers. */
export interface Elementary<V> {
  add(a: V, b: number | V): V;
  multiply(a: V, b: number | V): V;
  /** 1 - a */
  complement(a: V): V;
  sigmoid(a: V): V;
  exp(a: V): V;
  erf(a: V): V;
}

interface Form {
  value<V>(elementary: Elementary<V>, x: V): V;
  /** The value and the derivative, which have most of their work in common. */
  derive<V>(elementary: Elementary<V>, x: V): { value: V; slope: V };
}

// The tanh form is x/2 (1 + tanh(u/2)) = x sigmoid(u) with u = x (LINEAR + CUBIC x^2).
const LINEAR = 2 * Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715 * LINEAR;

function gate<V>({ add, multiply, sigmoid }: Elementary<V>, x: V, square: V): V {
  return sigmoid(multiply(x, add(multiply(square, CUBIC), LINEAR)));
}

/** By the name that ONNX has for the form: `none` is the exact one. */
export const GELU: { readonly [approximation in 'tanh' | 'none']: Form } = {
  tanh: {
    value: (elementary, x) => elementary.multiply(x, gate(elementary, x, elementary.multiply(x, x))),
    derive(elementary, x) {
      const { add, multiply, complement } = elementary;
      const square = multiply(x, x);
      const open = gate(elementary, x, square);
      const steepness = multiply(x, add(multiply(square, 3 * CUBIC), LINEAR)); // x du/dx
      return { value: multiply(x, open), slope: multiply(open, add(multiply(steepness, complement(open)), 1)) };
    },
  },
  none: {
    value({ add, multiply, erf }, x) {
      const probability = add(erf(multiply(x, Math.SQRT1_2)), 1); // 2 Phi(x)
      return multiply(multiply(x, 0.5), probability);
    },
    derive({ add, multiply, exp, erf }, x) {
      const probability = multiply(add(erf(multiply(x, Math.SQRT1_2)), 1), 0.5); // Phi(x)
      const density = multiply(exp(multiply(multiply(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return { value: multiply(x, probability), slope: add(probability, multiply(x, density)) };
    },
  },
};
