/* Compares what is no product with f64: GELU with its gradient, means of windows, group norms. */
#include "../gelu.h"
#include "../norm.h"
#include "../pool.h"
#include "check.h"

static double gelu(double x, enum gemm_act act) {
  if (act == ACT_GELU_ERF) return x / 2 * erfc(-x / sqrt(2));
  return x / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
}

static void test_gelu(void) {
  enum { COUNT = 100003 };
  float *x = malloc(COUNT * 4), *dy = malloc(COUNT * 4), *y = malloc(COUNT * 4), *dx = malloc(COUNT * 4);
  for (int i = 0; i < COUNT; i++) {
    x[i] = (float)(i - COUNT / 2) / 4000; /* -12.5 to 12.5 */
    dy[i] = normal();
  }
  for (int act = ACT_GELU_ERF; act <= ACT_GELU_TANH; act++) {
    gelu_gradient_t g = {.count = COUNT, .x = x, .dy = dy, .y = y, .dx = dx, .act = (enum gemm_act)act};
    gelu_gradient(&g, on_three_threads, 0);
    double worst = 0, worst_slope = 0, step = 1e-5;
    for (int i = 0; i < COUNT; i++) {
      double slope = (gelu(x[i] + step, g.act) - gelu(x[i] - step, g.act)) / (2 * step);
      worst = fmax(worst, fabs(y[i] - gelu(x[i], g.act)) / fmax(1, fabs(x[i])));
      worst_slope = fmax(worst_slope, fabs(dx[i] - slope * dy[i]));
    }
    CHECK(worst < 5e-7, "GELU, form %d: %g", act, worst);
    CHECK(worst_slope < 1e-6, "its gradient, form %d: %g", act, worst_slope);
    printf("GELU, form %d: largest error %.1e, of its gradient %.1e\n", act, worst, worst_slope);
    float specials[3] = {NAN, INFINITY, -INFINITY}, one[3] = {1, 1, 1};
    g = (gelu_gradient_t){.count = 3, .x = specials, .dy = one, .y = y, .dx = dx, .act = (enum gemm_act)act};
    gelu_gradient(&g, in_turn, 0);
    CHECK(isnan(y[0]) && isnan(dx[0]) && y[1] == INFINITY, "of numbers that are not finite: %g %g %g", y[0], dx[0], y[1]);
  }
  free(x);
  free(dy);
  free(y);
  free(dx);
}

static double mean(const pool_t *p, size_t plane, size_t y, size_t x) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < p->size; i++) {
    for (size_t j = 0; j < p->size; j++) {
      size_t row = y * p->stride + i - p->top, column = x * p->stride + j - p->left;
      int is_inside = row < p->height && column < p->width; /* before the image too, as numbers without a sign */
      if (is_inside) sum += p->x[(plane * p->height + row) * p->width + column];
      count += is_inside || p->count_padding;
    }
  }
  return sum / count;
}

static void test_average_pool(void) {
  static const pool_t POOLS[] = {
      {.planes = 5, .height = 9, .width = 8, .out_height = 9, .out_width = 8, .size = 3, .stride = 1, .top = 1, .left = 1},
      {.planes = 3, .height = 17, .width = 35, .out_height = 8, .out_width = 17, .size = 3, .stride = 2},
      {.planes = 1, .height = 1, .width = 1, .out_height = 1, .out_width = 1, .size = 3, .stride = 1, .top = 1, .left = 1},
      {.planes = 2, .height = 8, .width = 8, .out_height = 1, .out_width = 1, .size = 8, .stride = 1}};
  for (size_t i = 0; i < 2 * sizeof POOLS / sizeof *POOLS; i++) {
    pool_t p = POOLS[i / 2];
    p.count_padding = i % 2;
    size_t image = p.height * p.width, count = p.planes * p.out_height * p.out_width;
    p.x = matrix(p.planes, image, image, normal);
    p.y = malloc(count * sizeof(float));
    CHECK(average_pool(&p, on_three_threads, 0) == 0, "memory");
    for (size_t at = 0; at < count; at++) {
      size_t plane = at / (p.out_height * p.out_width), y = at / p.out_width % p.out_height, x = at % p.out_width;
      CHECK(fabs(p.y[at] - mean(&p, plane, y, x)) < 1e-6, "pool %zu at plane %zu, row %zu, column %zu", i, plane, y, x);
    }
    free((float *)p.x);
    free(p.y);
  }
}

typedef struct {
  double mean, deviation;
} group_t;

static group_t group_of(const group_norm_t *n, size_t index) {
  size_t count = n->channels / n->groups * n->places;
  double mean = 0, squares = 0;
  for (size_t i = 0; i < count; i++) mean += n->x[index * count + i] / (double)count;
  for (size_t i = 0; i < count; i++) squares += pow(n->x[index * count + i] - mean, 2);
  return (group_t){mean, sqrt(squares / (double)count + n->epsilon)};
}

static double normed(const group_norm_t *n, group_t group, size_t channel, double x) {
  double y = (x - group.mean) / group.deviation * (n->scale ? n->scale[channel] : 1) + (n->shift ? n->shift[channel] : 0);
  return n->is_silu ? y / (1 + exp(-y)) : y;
}

/* Numbers far from 0, so that their variance is lost where it is not taken about the mean. */
static float far(void) { return 100 + normal(); }

static void test_group_norm(void) {
  /* batch, channels, groups, places */
  static const size_t SHAPES[][4] = {{2, 6, 3, 35}, {1, 8, 2, 5000}, {3, 4, 1, 1}, {1, 64, 32, 16}};
  double worst[2] = {0, 0};
  for (size_t s = 0; s < sizeof SHAPES / sizeof *SHAPES; s++) {
    for (int variant = 0; variant < 8; variant++) {
      group_norm_t n = {.batch = SHAPES[s][0], .channels = SHAPES[s][1], .groups = SHAPES[s][2], .places = SHAPES[s][3],
                        .epsilon = 1e-5f, .is_silu = variant & 1, .is_paired = variant >> 1 & 1};
      size_t count = n.batch * n.channels * n.places;
      float *x = matrix(1, count, count, far), *scale = matrix(1, n.channels, n.channels, normal);
      float *shift = matrix(1, n.channels, n.channels, normal);
      float *y = malloc(count * sizeof *y);
      n.x = x;
      n.scale = variant >> 2 ? scale : 0;
      n.shift = variant >> 2 ? shift : 0;
      n.y = y;
      group_norm(&n, on_three_threads, 0);
      size_t of_group = n.channels / n.groups * n.places;
      group_t group = {0, 0};
      for (size_t i = 0; i < count; i++) {
        size_t item = i / n.places / n.channels, channel = i / n.places % n.channels, place = i % n.places;
        if (i % of_group == 0) group = group_of(&n, i / of_group);
        float actual = y[i];
        if (n.is_paired) {
          uint32_t bits = ((uint32_t *)y)[((item * n.channels + channel) / 2) * n.places + place];
          bits = channel % 2 ? bits & 0xffff0000 : bits << 16;
          memcpy(&actual, &bits, 4);
        }
        double wanted = normed(&n, group, channel, x[i]), e = fabs(actual - wanted) / fmax(1, fabs(wanted));
        worst[n.is_paired] = e > worst[n.is_paired] || isnan(e) ? e : worst[n.is_paired];
      }
      free(x);
      free(scale);
      free(shift);
      free(y);
    }
  }
  CHECK(worst[0] < 3e-5 && worst[1] < 5e-3, "group norms: errors %g and, rounded, %g", worst[0], worst[1]);
  printf("group norms: largest error %.1e, rounded %.1e\n", worst[0], worst[1]);
}

static void all(void) {
  test_gelu();
  test_average_pool();
  test_group_norm();
}

int main(void) { return at_each_level(all); }
