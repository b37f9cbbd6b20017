/* Pairs of bf16: a dword of two numbers that are neighbours along what is summed. */
#pragma once
#include "units.h"
#include <stdint.h>

/* As many lanes as there are left. */
static inline __mmask16 lanes(size_t left) { return (__mmask16)(left >= 16 ? 0xffff : (1u << left) - 1); }

/* low and high, rounded, side by side. */
TARGET512 static inline __m512i pair16(__m512 low, __m512 high) {
  static const uint16_t ORDER[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_loadu_si512(ORDER), (__m512i)_mm512_cvtne2ps_pbh(high, low));
}
