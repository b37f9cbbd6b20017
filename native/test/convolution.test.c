/* Compares convolutions at each level with f64. */
#include "../convolution.h"
#include "check.h"

typedef struct {
  size_t batch, in, height, width, out, kernel_height, kernel_width, stride, dilation, top, left, bottom, right;
} sizes_t;

static convolution_t make(sizes_t s, float (*number)(void), float **weight) {
  convolution_t c = {.batch = s.batch, .in_channels = s.in, .height = s.height, .width = s.width, .out_channels = s.out,
                     .kernel_height = s.kernel_height, .kernel_width = s.kernel_width, .stride = s.stride,
                     .dilation = s.dilation, .top = s.top, .left = s.left};
  c.out_height = (s.height + s.top + s.bottom - (s.kernel_height - 1) * s.dilation - 1) / s.stride + 1;
  c.out_width = (s.width + s.left + s.right - (s.kernel_width - 1) * s.dilation - 1) / s.stride + 1;
  size_t image = s.height * s.width, taps = s.kernel_height * s.kernel_width;
  c.x = matrix(s.batch * s.in, image, image, number);
  *weight = matrix(s.out * s.in, taps, taps, number);
  c.bias = matrix(1, s.out, s.out, number);
  c.y = malloc(s.batch * s.out * c.out_height * c.out_width * sizeof(float));
  void *packed = aligned_alloc(64, convolution_packed_bytes(&c));
  convolution_pack(&c, *weight, packed);
  c.packed = packed;
  return c;
}
static void drop(convolution_t *c, float *weight) {
  free((float *)c->x);
  free((float *)c->bias);
  free((void *)c->packed);
  free(c->y);
  free(weight);
}

static double exact(const convolution_t *c, const float *weight, size_t item, size_t o, size_t y, size_t x) {
  double sum = c->bias ? c->bias[o] : 0;
  for (size_t i = 0; i < c->in_channels; i++) {
    for (size_t ky = 0; ky < c->kernel_height; ky++) {
      for (size_t kx = 0; kx < c->kernel_width; kx++) {
        size_t row = y * c->stride + ky * c->dilation - c->top, column = x * c->stride + kx * c->dilation - c->left;
        size_t size = c->is_enlarged ? 2 : 1; /* of a pixel */
        if (row >= size * c->height || column >= size * c->width) continue; /* before the image too, as numbers without a sign */
        double seen = c->x[((item * c->in_channels + i) * c->height + row / size) * c->width + column / size];
        sum += seen * weight[((o * c->in_channels + i) * c->kernel_height + ky) * c->kernel_width + kx];
      }
    }
  }
  size_t at = ((item * c->out_channels + o) * c->out_height + y) * c->out_width + x;
  return (c->act == ACT_RELU ? fmax(sum, 0) : sum) + (c->residual ? c->residual[at] : 0);
}

/* The largest error by the root of the mean square of the results. */
static double error_of(const convolution_t *c, const float *weight) {
  double worst = 0, squares = 0;
  size_t at = 0;
  for (size_t item = 0; item < c->batch; item++) {
    for (size_t o = 0; o < c->out_channels; o++) {
      for (size_t y = 0; y < c->out_height; y++) {
        for (size_t x = 0; x < c->out_width; x++, at++) {
          double wanted = exact(c, weight, item, o, y, x), e = fabs(wanted - c->y[at]);
          worst = e > worst || isnan(e) ? e : worst;
          squares += wanted * wanted;
        }
      }
    }
  }
  return worst == 0 ? 0 : worst / sqrt(squares / (double)at);
}

static const sizes_t SIZES[] = {
    {2, 5, 9, 8, 6, 3, 3, 1, 1, 1, 1, 1, 1},    {1, 33, 17, 17, 40, 3, 3, 1, 1, 1, 1, 1, 1},
    {1, 4, 16, 16, 33, 2, 2, 2, 1, 0, 0, 0, 0}, {1, 6, 13, 11, 7, 3, 3, 2, 1, 0, 0, 1, 1},
    {3, 3, 28, 28, 20, 14, 14, 14, 1, 0, 0, 0, 0}, {1, 8, 35, 35, 10, 1, 7, 1, 1, 0, 3, 0, 3},
    {1, 8, 12, 40, 10, 7, 1, 1, 1, 3, 0, 3, 0},  {1, 3, 9, 9, 5, 3, 3, 1, 2, 2, 2, 2, 2},
    {2, 2, 1, 1, 3, 3, 3, 1, 1, 1, 1, 1, 1},    {1, 300, 4, 70, 9, 3, 3, 1, 1, 1, 1, 1, 1},
    {1, 64, 5, 5, 64, 1, 1, 1, 1, 0, 0, 0, 0},  {1, 1, 7, 50, 1, 3, 5, 3, 2, 4, 0, 4, 2},
    {1, 500, 2, 90, 3, 5, 5, 1, 1, 2, 2, 2, 2}};
#define COUNT (sizeof SIZES / sizeof *SIZES)

static void test_random_numbers(void) {
  double worst = 0;
  for (size_t i = 0; i < COUNT; i++) {
    for (int act = 0; act <= 1; act++) {
      float *weight;
      convolution_t c = make(SIZES[i], normal, &weight);
      c.act = act ? ACT_RELU : ACT_NONE;
      CHECK(convolution(&c, on_three_threads, 0) == 0, "memory");
      double e = error_of(&c, weight);
      CHECK(e < 4e-2, "case %zu: error %g", i, e);
      worst = e > worst ? e : worst;
      drop(&c, weight);
    }
  }
  printf("level %d: largest error of a convolution %.1e of the results' root mean square\n", gemm_level(), worst);
}

static void test_integers_are_exact(void) {
  for (size_t i = 0; i < COUNT; i++) {
    float *weight;
    convolution_t c = make(SIZES[i], small_integer, &weight);
    const float *bias = c.bias;
    if (i % 2) c.bias = 0;
    convolution(&c, on_three_threads, 0);
    CHECK(error_of(&c, weight) == 0, "integers, case %zu", i);
    c.bias = bias;
    drop(&c, weight);
  }
}

/* Of integers, so that sums of weights are exact too. */
static void test_enlarged(void) {
  static const size_t SHAPES[][5] = {{2, 5, 9, 8, 6}, {1, 33, 17, 40, 40}, {1, 4, 1, 1, 33}, {1, 300, 3, 70, 9}};
  for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
    const size_t *s = SHAPES[i];
    float *weight;
    convolution_t c = make((sizes_t){s[0], s[1], s[2], s[3], s[4], 3, 3, 1, 1, 1, 1, 1, 1}, small_integer, &weight);
    c.is_enlarged = 1;
    c.out_height *= 2;
    c.out_width *= 2;
    c.act = i % 2 ? ACT_RELU : ACT_NONE;
    free((void *)c.packed);
    free(c.y);
    c.y = malloc(c.batch * c.out_channels * c.out_height * c.out_width * sizeof(float));
    void *packed = aligned_alloc(64, convolution_packed_bytes(&c));
    convolution_pack(&c, weight, packed);
    c.packed = packed;
    CHECK(convolution(&c, on_three_threads, 0) == 0, "memory");
    CHECK(error_of(&c, weight) == 0, "an enlarged image, case %zu", i);
    drop(&c, weight);
  }
}

/* Pairs that are integers, which rounding leaves as they are, and what is added in the end. */
static void test_pairs_and_residual(void) {
  for (size_t i = 0; i < COUNT; i++) {
    if (SIZES[i].in % 2) continue;
    float *weight;
    convolution_t c = make(SIZES[i], small_integer, &weight);
    size_t plane = c.height * c.width, count = c.batch * c.in_channels * plane;
    size_t outputs = c.batch * c.out_channels * c.out_height * c.out_width;
    uint32_t *pairs = malloc(count / 2 * sizeof *pairs);
    for (size_t at = 0; at < count / 2; at++) {
      const float *low = c.x + at / plane * 2 * plane + at % plane;
      uint32_t bits[2];
      memcpy(bits, low, 4);
      memcpy(bits + 1, low + plane, 4);
      pairs[at] = bits[0] >> 16 | (bits[1] & 0xffff0000);
    }
    c.pairs = pairs;
    c.residual = matrix(1, outputs, outputs, small_integer);
    CHECK(convolution(&c, on_three_threads, 0) == 0, "memory");
    CHECK(error_of(&c, weight) == 0, "pairs, case %zu", i);
    free(pairs);
    free((float *)c.residual);
    drop(&c, weight);
  }
}

/* A pixel that is not finite spoils what sees it, in its image, and nothing else. */
static void test_not_finite(void) {
  const float specials[] = {NAN, INFINITY, -INFINITY, 3.4e38f};
  for (size_t s = 0; s < sizeof specials / sizeof *specials; s++) {
    float *weight;
    convolution_t c = make((sizes_t){2, 5, 9, 8, 6, 3, 3, 1, 1, 1, 1, 1, 1}, normal, &weight);
    ((float *)c.x)[(2 * 9 + 4) * 8 + 3] = specials[s]; /* image 0, channel 2, row 4, column 3 */
    convolution(&c, in_turn, 0);
    for (size_t at = 0; at < 2 * 6 * 72; at++) {
      size_t y = at % 72 / 8, x = at % 8;
      int is_hit = at < 6 * 72 && y >= 3 && y <= 5 && x >= 2 && x <= 4;
      CHECK(is_hit ? !isfinite(c.y[at]) : isfinite(c.y[at]), "%g gave %g at row %zu, column %zu", specials[s], c.y[at], y, x);
    }
    drop(&c, weight);
    c = make((sizes_t){1, 5, 9, 8, 6, 3, 3, 1, 1, 1, 1, 1, 1}, normal, &weight);
    weight[(3 * 5 + 2) * 9 + 4] = specials[s]; /* of output 3: the middle of a kernel, which sees every place */
    convolution_pack(&c, weight, (void *)c.packed);
    convolution(&c, in_turn, 0);
    for (size_t at = 0; at < 6 * 72; at++) CHECK(at / 72 == 3 ? !isfinite(c.y[at]) : isfinite(c.y[at]), "a weight of %g", specials[s]);
    drop(&c, weight);
  }
}

static void all(void) {
  test_random_numbers();
  test_integers_are_exact();
  test_enlarged();
  test_pairs_and_residual();
  test_not_finite();
}

int main(void) { return at_each_level(all); }
