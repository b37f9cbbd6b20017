/** The library of native/: products by units for bf16, which ONNX Runtime calls as an operation of its own. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { UnavailableError } from '../../errors.js';
import { koffi } from '../../foreign-functions.js';

/** enum gemm_level of native/gemm.h. */
const UNITS = [null, 'AVX512-BF16', 'AMX'] as const;

const file = fileURLToPath(
  new URL(`../../../../../native/build/${process.platform}-${process.arch}.so`, import.meta.url),
);

// koffi unloads a library that is garbage.
let library: ReturnType<typeof koffi.load> | undefined;

/** The units that products in bf16 would use here; null where the processor has none, or the library was not built. */
export function productUnits(): 'AVX512-BF16' | 'AMX' | null {
  if (!existsSync(file)) return null;
  library ??= koffi.load(file);
  return UNITS[library.func('repa_product_units', 'int', [])() as number];
}

/**
 * The file of the library.
 * @throws UnavailableError when it was not built, or the processor has no such units
 */
export function productLibrary(): string {
  if (!existsSync(file)) {
    throw new UnavailableError(
      'the products by bf16 units were not built',
      'install a C compiler and run npm run build:native on Linux and x64; or leave out --precision',
    );
  }
  if (!productUnits()) {
    throw new UnavailableError(
      'this processor has no units for bf16 (AVX512-BF16 or AMX)',
      'leave out --precision, which computes in f32',
    );
  }
  return file;
}
