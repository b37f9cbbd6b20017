/* Rounds matrices to bf16 and lays them out as the kernels read them. */
#include "pack.h"
#include <stdint.h>
#include <string.h>

/* 16 x 16 dwords, transposed in place. */
TARGET512 static inline void transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

/* x minus its bf16; zero where that is not finite, so that an infinity does not become NaN by itself. */
TARGET512 static inline __m512 remainder16(__m512 x, __m256i rounded) {
  __m512 high = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
  __mmask16 finite = _mm512_cmp_ps_mask(_mm512_abs_ps(high), _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ);
  return _mm512_maskz_sub_ps(finite, x, high);
}

/* The low parts of a pair of vectors whose high parts are `rounded`. */
TARGET512 static inline __m512i low_parts(__m512 lo, __m512 hi, __m512i rounded) {
  __m512 rest_lo = remainder16(lo, _mm512_castsi512_si256(rounded));
  __m512 rest_hi = remainder16(hi, _mm512_extracti64x4_epi64(rounded, 1));
  return (__m512i)_mm512_cvtne2ps_pbh(rest_hi, rest_lo);
}

static inline __mmask16 first(size_t count) { return (__mmask16)(count >= 16 ? 0xffff : (1u << count) - 1); }

/* One block of a matrix [i, k]: ni <= 16 of i, nk <= 32 of k. */
TARGET512 static inline void pack_block(const float *src, size_t ld, int along_k, int pair_major, size_t ni, size_t nk,
                                        int parts, char *out, size_t out_low) {
  __m512i r[16], l[16];
  if (along_k) {
    __mmask16 m0 = first(nk), m1 = nk > 16 ? first(nk - 16) : 0;
    for (size_t i = 0; i < 16; i++) {
      __m512 lo = _mm512_setzero_ps(), hi = lo;
      if (i < ni) {
        lo = _mm512_maskz_loadu_ps(m0, src + i * ld);
        if (m1) hi = _mm512_maskz_loadu_ps(m1, src + i * ld + 16);
      }
      r[i] = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
      if (parts == 2) l[i] = low_parts(lo, hi, r[i]);
    }
  } else {
    static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i interleave = _mm512_loadu_si512(order);
    __mmask16 m = first(ni);
    for (size_t p = 0; p < 16; p++) {
      __m512 lo = _mm512_setzero_ps(), hi = lo;
      if (2 * p < nk) lo = _mm512_maskz_loadu_ps(m, src + 2 * p * ld);
      if (2 * p + 1 < nk) hi = _mm512_maskz_loadu_ps(m, src + (2 * p + 1) * ld);
      __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(hi, lo);
      r[p] = _mm512_permutexvar_epi16(interleave, rounded);
      if (parts == 2) l[p] = _mm512_permutexvar_epi16(interleave, low_parts(lo, hi, rounded));
    }
  }
  if (along_k == pair_major) transpose16(r);
  for (int i = 0; i < 16; i++) _mm512_storeu_si512(out + 64 * i, r[i]);
  if (parts < 2) return;
  if (along_k == pair_major) transpose16(l);
  for (int i = 0; i < 16; i++) _mm512_storeu_si512(out + out_low + 64 * i, l[i]);
}

TARGET512 void pack(const float *src, size_t ld, int along_k, int pair_major, size_t i0, size_t i1, size_t s0, size_t s1,
                    size_t k, int parts, char *out) {
  size_t panel = panel_bytes(k, parts), step = 2 * BLOCK * (size_t)parts;
  for (size_t s = s0; s < s1; s++) {
    for (size_t i = i0; i < i1; i += 16) {
      char *to = out + (i - i0) / PANEL * panel + s * step + i / 16 % 2 * BLOCK;
      const float *from = along_k ? src + i * ld + s * KSTEP : src + s * KSTEP * ld + i;
      pack_block(from, ld, along_k, pair_major, MIN(16, i1 - i), MIN(KSTEP, k - s * KSTEP), parts, to, 2 * BLOCK);
    }
    if (i1 > i0 && (i1 - i0 + 15) / 16 % 2) { /* the second half of the last panel */
      char *to = out + (i1 - i0 - 1) / PANEL * panel + s * step + BLOCK;
      memset(to, 0, BLOCK);
      if (parts == 2) memset(to + 2 * BLOCK, 0, BLOCK);
    }
  }
}
