/* GELU and its derivative (arXiv 1606.08415), in one pass: their exponential is the same. */
#include "gelu.h"
#include "exponential.h"
#include "units.h"

/* Elements of a task: enough that a thread is not woken for nothing. */
#define ELEMENTS 32768

/* With Phi by Abramowitz and Stegun 7.1.26: gelu' = Phi(x) + x phi(x). */
TARGET512 static inline __m512 erf_form(__m512 x, __m512 *slope) {
  __m512 bell, phi = normal_distribution16(x, &bell);
  *slope = _mm512_fmadd_ps(_mm512_mul_ps(x, _mm512_set1_ps(0.3989422804f)), bell, phi);
  return _mm512_mul_ps(x, phi);
}

/* x sigmoid(u), u = x (2 sqrt(2/pi) + c x^2): gelu' = gate (1 + x u' (1 - gate)), where 1 - gate = e^-u gate. */
TARGET512 static inline __m512 tanh_form(__m512 x, __m512 *slope) {
  __m512 one = _mm512_set1_ps(1), linear = _mm512_set1_ps(1.595769121605f), cubic = _mm512_set1_ps(0.0713548162726f);
  __m512 square = _mm512_mul_ps(x, x), u = _mm512_mul_ps(x, _mm512_fmadd_ps(square, cubic, linear));
  __m512 power = exp16(_mm512_sub_ps(_mm512_setzero_ps(), u)), gate = _mm512_div_ps(one, _mm512_add_ps(one, power));
  __m512 steepness = _mm512_mul_ps(x, _mm512_fmadd_ps(_mm512_mul_ps(square, _mm512_set1_ps(3)), cubic, linear));
  *slope = _mm512_mul_ps(gate, _mm512_fmadd_ps(steepness, _mm512_mul_ps(power, gate), one));
  return _mm512_mul_ps(x, gate);
}

TARGET512 static void task(void *context, size_t index) {
  const gelu_gradient_t *g = context;
  size_t last = MIN(g->count, (index + 1) * ELEMENTS);
  for (size_t i = index * ELEMENTS; i < last; i += 16) {
    __mmask16 mask = (__mmask16)(last - i >= 16 ? 0xffff : (1u << (last - i)) - 1);
    __m512 x = _mm512_maskz_loadu_ps(mask, g->x + i), dy = _mm512_maskz_loadu_ps(mask, g->dy + i), slope;
    __m512 y = g->act == ACT_GELU_TANH ? tanh_form(x, &slope) : erf_form(x, &slope);
    _mm512_mask_storeu_ps(g->y + i, mask, y);
    _mm512_mask_storeu_ps(g->dx + i, mask, _mm512_mul_ps(dy, slope));
  }
}

void gelu_gradient(const gelu_gradient_t *g, parallel_fn parallel, void *pool) {
  parallel(pool, ceil_div(g->count, ELEMENTS), task, (void *)g);
}
