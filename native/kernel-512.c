/* Products by AVX512-BF16. */
#include "kernels.h"
#include "units.h"
#include <string.h>

/* The pair of bf16 at `from`, in each lane. */
TARGET512 static inline __m512bh everywhere(const char *from) {
  int pair;
  memcpy(&pair, from, 4);
  return (__m512bh)_mm512_set1_epi32(pair);
}

/*
 * 8 rows of 32 columns at a time: 16 sums, 2 vectors of B, a pair of A everywhere. Of a long panel these rows are
 * pieces that the processor does not foresee: asked for two steps ahead, they come out of the third cache in time.
 */
TARGET512 void kernel_512(const char *a, const char *b, size_t steps, int parts, float *c, size_t ldc, size_t rows) {
  size_t step = 2 * BLOCK * (size_t)parts;
  for (int half = 0; half < 4 && 8 * (size_t)half < rows; half++) {
    __m512 sum[8][2];
    for (int i = 0; i < 8; i++) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (int term = 0; term < (parts == 2 ? 4 : 1); term++) { /* high and high, low and high, high and low, both low */
      const char *pa = a + half / 2 * BLOCK + half % 2 * 512 + (term % 2 ? 2 * BLOCK : 0);
      const char *pb = b + (term >= 2 ? 2 * BLOCK : 0);
      for (size_t s = 0; s < steps; s++, pa += step, pb += step) {
        for (int p = 0; p < 16; p++) {
          __m512bh b0 = (__m512bh)_mm512_loadu_si512(pb + 64 * p);
          __m512bh b1 = (__m512bh)_mm512_loadu_si512(pb + BLOCK + 64 * p);
          if (p < 8) _mm_prefetch(pa + 2 * step + 64 * p, _MM_HINT_T0);
          _mm_prefetch(pb + step + 64 * p, _MM_HINT_T0);
          _mm_prefetch(pb + step + BLOCK + 64 * p, _MM_HINT_T0);
#pragma GCC unroll 8
          for (int i = 0; i < 8; i++) {
            __m512bh x = everywhere(pa + 64 * i + 4 * p);
            sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);
            sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);
          }
        }
      }
    }
    for (int i = 0; i < 8; i++) {
      _mm512_storeu_ps(c + (size_t)(8 * half + i) * ldc, sum[i][0]);
      _mm512_storeu_ps(c + (size_t)(8 * half + i) * ldc + 16, sum[i][1]);
    }
  }
}
