/**
 * Getting memory back. Loading a network leaves its weights behind twice: as garbage of JavaScript, which nobody
 * collects while the memory is taken by ONNX Runtime, and as free blocks that the C library keeps for later.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { koffi } from '../../foreign-functions.js';

/** M_MMAP_THRESHOLD of glibc's malloc.h. */
const MMAP_THRESHOLD = -3;
const LARGE = 2 ** 20;

let isSet = false;

/**
 * From now on, large blocks of C's memory go back to the system as soon as they are freed. Left to itself, glibc keeps
 * blocks of up to 32 MiB once one of that size was freed. Other C libraries have no such habit, nor this function.
 */
export function returnLargeBlocks(): void {
  if (isSet) return;
  isSet = true;
  try {
    koffi.load('libc.so.6').func('int mallopt(int parameter, int value)')(MMAP_THRESHOLD, LARGE);
  } catch {
    // no glibc here
  }
}

let collect: (() => void) | undefined;

/** Collects the garbage now. */
export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc'); // for contexts made from now on
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
