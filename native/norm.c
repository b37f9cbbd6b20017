/*
 * Group normalisation: a task has a group of an image, which the second cache holds from the first pass to the second.
 */
#include "norm.h"
#include "exponential.h"
#include "pair.h"
#include "units.h"
#include <math.h>

/* Numbers whose moments are taken at once: the first cache holds them, and sums of them are exact enough in f32. */
#define NUMBERS 4096

typedef struct {
  double mean, squares; /* about the mean */
} moments_t;

TARGET512 static moments_t moments_of(const float *x, size_t count) {
  __m512 sum = _mm512_setzero_ps();
  for (size_t i = 0; i < count; i += 16) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(lanes(count - i), x + i));
  float mean = _mm512_reduce_add_ps(sum) / (float)count;
  __m512 middle = _mm512_set1_ps(mean), squares = _mm512_setzero_ps();
  for (size_t i = 0; i < count; i += 16) {
    __m512 apart = _mm512_maskz_sub_ps(lanes(count - i), _mm512_maskz_loadu_ps(lanes(count - i), x + i), middle);
    squares = _mm512_fmadd_ps(apart, apart, squares);
  }
  return (moments_t){mean, _mm512_reduce_add_ps(squares)};
}

/* Those of two sets of numbers as one (Chan, Golub and LeVeque, 1979). */
static moments_t join(moments_t a, size_t count_a, moments_t b, size_t count_b) {
  double apart = b.mean - a.mean, share = (double)count_b / (double)(count_a + count_b);
  return (moments_t){a.mean + apart * share, a.squares + b.squares + apart * apart * (double)count_a * share};
}

/* What becomes of one channel. */
typedef struct {
  __m512 mean, scale, shift;
  int is_silu;
} channel_t;

TARGET512 static inline void describe(const group_norm_t *n, size_t channel, float mean, float inverse, channel_t *out) {
  out->mean = _mm512_set1_ps(mean);
  out->scale = _mm512_set1_ps(n->scale ? inverse * n->scale[channel] : inverse);
  out->shift = _mm512_set1_ps(n->shift ? n->shift[channel] : 0);
  out->is_silu = n->is_silu;
}

TARGET512 static inline __m512 normed16(const channel_t *c, __m512 x) {
  __m512 y = _mm512_fmadd_ps(_mm512_sub_ps(x, c->mean), c->scale, c->shift), one = _mm512_set1_ps(1);
  if (!c->is_silu) return y;
  return _mm512_div_ps(y, _mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), y))));
}

TARGET512 static void norm_channel(const channel_t *c, const float *x, size_t count, float *y) {
  for (size_t i = 0; i < count; i += 16) {
    __m512 normed = normed16(c, _mm512_maskz_loadu_ps(lanes(count - i), x + i));
    _mm512_mask_storeu_ps(y + i, lanes(count - i), normed);
  }
}

/* Two channels that are neighbours. */
TARGET512 static void norm_pair(const channel_t *a, const channel_t *b, const float *x, size_t count, uint32_t *y) {
  for (size_t i = 0; i < count; i += 16) {
    __mmask16 mask = lanes(count - i);
    __m512 low = normed16(a, _mm512_maskz_loadu_ps(mask, x + i));
    __m512 high = normed16(b, _mm512_maskz_loadu_ps(mask, x + count + i));
    _mm512_mask_storeu_epi32(y + i, mask, pair16(low, high));
  }
}

static void group_task(void *context, size_t index) {
  const group_norm_t *n = context;
  size_t channels = n->channels / n->groups, first = index % n->groups * channels, count = channels * n->places;
  size_t at = (index / n->groups * n->channels + first) * n->places;
  const float *x = n->x + at;
  moments_t moments = moments_of(x, MIN(NUMBERS, count));
  for (size_t i = NUMBERS; i < count; i += NUMBERS) {
    size_t length = MIN(NUMBERS, count - i);
    moments = join(moments, i, moments_of(x + i, length), length);
  }
  float mean = (float)moments.mean, inverse = (float)(1 / sqrt(moments.squares / (double)count + n->epsilon));
  for (size_t c = 0; c < channels; c += n->is_paired ? 2 : 1) {
    channel_t channel, next;
    describe(n, first + c, mean, inverse, &channel);
    if (n->is_paired) {
      describe(n, first + c + 1, mean, inverse, &next);
      norm_pair(&channel, &next, x + c * n->places, n->places, (uint32_t *)n->y + (at + c * n->places) / 2);
    } else {
      norm_channel(&channel, x + c * n->places, n->places, (float *)n->y + at + c * n->places);
    }
  }
}

void group_norm(const group_norm_t *n, parallel_fn parallel, void *pool) {
  if (n->places == 0) return;
  parallel(pool, n->batch * n->groups, group_task, (void *)n);
}
