/* Exponentials of 16 numbers, and what is made of them. */
#pragma once
#include "units.h"

/* e^x to 2 ulp, of x within 80 of 0, so that nothing after it is a denormal (slow): 2^n e^f with a polynomial for f. */
TARGET512 static inline __m512 exp16(__m512 x) {
  /* The bound comes first: min and max give their second operand where one is NaN. */
  x = _mm512_max_ps(_mm512_set1_ps(-80.f), _mm512_min_ps(_mm512_set1_ps(80.f), x));
  __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 f = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693145751953125f), x); /* ln 2 in two parts */
  f = _mm512_fnmadd_ps(n, _mm512_set1_ps(1.42860677e-6f), f);
  __m512 p = _mm512_set1_ps(1.f / 720);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f / 120));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f / 24));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f / 6));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f));
  return _mm512_scalef_ps(p, n);
}

/* Phi(x) by Abramowitz and Stegun 7.1.26, to 1.5e-7, and exp(-x^2 / 2). */
TARGET512 static inline __m512 normal_distribution16(__m512 x, __m512 *bell) {
  __m512 z = _mm512_abs_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.70710678f)));
  __m512 t = _mm512_div_ps(_mm512_set1_ps(1), _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), _mm512_set1_ps(1)));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  *bell = exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
  __m512 tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), *bell), _mm512_set1_ps(0.5f)); /* erfc(z) / 2 */
  __m512 upper = _mm512_sub_ps(_mm512_set1_ps(1), tail);
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ), upper, tail);
}
