/** The library of native/: products by units for bf16, which ONNX Runtime calls as operations of its own. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UnavailableError } from '../../errors.js';
import { koffi } from '../../foreign-functions.js';

/** enum gemm_level of native/gemm.h. */
const UNITS = [null, 'AVX512-BF16', 'AMX'] as const;

const file = fileURLToPath(
  new URL(`../../../../../native/build/${process.platform}-${process.arch}.so`, import.meta.url),
);

/** What repa_native_version of native/operations.c has to say. */
const VERSION = 2;

// koffi unloads a library that is garbage.
let library: ReturnType<typeof koffi.load> | undefined;

function bind(name: string, result: string, parameters: string[]) {
  library ??= koffi.load(file);
  return library.func(name, result, parameters);
}

/** Whether a library is of the sources of this version; one that was left behind is not. */
export function isOfThisVersion(path: string): boolean {
  try {
    return koffi.load(path).func('repa_native_version', 'int', [])() === VERSION;
  } catch {
    return false;
  }
}

let isUsable: boolean | undefined;

function usable(): boolean {
  isUsable ??= existsSync(file) && isOfThisVersion(file);
  return isUsable;
}

/**
 * The units that products in bf16 would use here; null where the processor has none, or the library was not built for
 * this version.
 */
export function productUnits(): 'AVX512-BF16' | 'AMX' | null {
  if (!usable()) return null;
  return UNITS[bind('repa_product_units', 'int', [])() as number];
}

/**
 * The file of the library.
 * @throws UnavailableError when it was not built, or for another version, or the processor has no such units
 */
export function productLibrary(): string {
  const build = 'run npm run build:native on Linux and x64 with a C compiler; or leave out --precision';
  if (!existsSync(file)) throw new UnavailableError('the products by bf16 units were not built', build);
  if (!usable()) {
    throw new UnavailableError(`${file} was built for another version of repa, or cannot be loaded`, build);
  }
  if (!productUnits()) {
    throw new UnavailableError(
      'this processor has no units for bf16 (AVX512-BF16 or AMX)',
      'leave out --precision, which computes in f32',
    );
  }
  return file;
}

/**
 * The second operand of products, [k, n] or [n, k] if `isTransposed`, rounded and laid out for PackedProduct.
 * @throws UnavailableError where there are no units
 */
export function packProduct(
  b: Float32Array,
  n: number,
  k: number,
  isTransposed: boolean,
  parts: number,
): Float32Array<ArrayBuffer> {
  productLibrary();
  const size = bind('repa_packed_product_size', 'size_t', ['size_t', 'size_t', 'int']);
  const pack = bind('repa_pack_product', 'void', ['const void *', 'size_t', 'size_t', 'int', 'int', 'void *']);
  const packed = new Float32Array(Number(size(n, k, parts)));
  pack(b, n, k, isTransposed ? 1 : 0, parts, packed);
  return packed;
}

/**
 * The weights of a convolution [O, I, kh, kw], rounded and laid out for Convolution; of that of an enlarged image,
 * summed before.
 * @throws UnavailableError where there are no units
 */
export function packConvolution(
  weight: Float32Array,
  shape: readonly number[],
  isEnlarged: boolean,
): Float32Array<ArrayBuffer> {
  productLibrary();
  const kernel = [...shape, isEnlarged ? 1 : 0];
  const types = [...shape.map(() => 'size_t'), 'int'];
  const packed = new Float32Array(Number(bind('repa_packed_convolution_size', 'size_t', types)(...kernel)));
  bind('repa_pack_convolution', 'void', ['const void *', ...types, 'void *'])(weight, ...kernel, packed);
  return packed;
}
