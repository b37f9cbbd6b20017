/* What follows a product, while its sums are in the cache. */
#include "exponential.h"
#include "kernels.h"
#include "units.h"

/* x Phi(x). */
TARGET512 static inline __m512 gelu_erf16(__m512 x) {
  __m512 bell;
  return _mm512_mul_ps(x, normal_distribution16(x, &bell));
}

/* x sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3)) (arXiv 1606.08415). */
TARGET512 static inline __m512 gelu_tanh16(__m512 x) {
  __m512 slope = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.0713548162726f), _mm512_set1_ps(-1.595769121605f));
  return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), exp16(_mm512_mul_ps(x, slope))));
}

TARGET512 void finish(const gemm_t *g, const float *sums, size_t row, size_t column, size_t rows, size_t columns) {
  for (size_t j = 0; j < columns; j += 16) {
    __mmask16 mask = (__mmask16)(columns - j >= 16 ? 0xffff : (1u << (columns - j)) - 1);
    __m512 bias = g->bias ? _mm512_maskz_loadu_ps(mask, g->bias + column + j) : _mm512_setzero_ps();
    __m512 scale = g->scale ? _mm512_maskz_loadu_ps(mask, g->scale + column + j) : _mm512_set1_ps(1);
    __m512 alpha = _mm512_set1_ps(g->alpha);
    for (size_t i = 0; i < rows; i++) {
      size_t at = (row + i) * g->ldc + column + j;
      __m512 x = _mm512_fmadd_ps(_mm512_load_ps(sums + PANEL * i + j), alpha, bias);
      if (g->row_bias) x = _mm512_add_ps(x, _mm512_set1_ps(g->row_bias[row + i]));
      if (g->act == ACT_GELU_ERF) x = gelu_erf16(x);
      else if (g->act == ACT_GELU_TANH) x = gelu_tanh16(x);
      else if (g->act == ACT_RELU) x = _mm512_max_ps(_mm512_setzero_ps(), x); /* gives the second, which may be NaN */
      if (g->residual) x = _mm512_fmadd_ps(x, scale, _mm512_maskz_loadu_ps(mask, g->residual + at));
      else if (g->scale) x = _mm512_mul_ps(x, scale);
      _mm512_mask_storeu_ps(g->c + at, mask, x);
    }
  }
}
