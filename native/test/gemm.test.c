/*
 * Compares the products of each level with those in f64; with REPA_EMULATE_AMX, the loops of AMX too.
 * Operands and results lie in blocks of exactly their size, so that a sanitizer sees what is read or written beyond.
 */
#include "check.h"

typedef struct {
  size_t m, n, k;
} shape_t;
typedef struct {
  gemm_t g;
  float *a, *b, *c, *bias, *row_bias, *scale, *residual;
} case_t;

/* Strides are wider than rows where `gap` says it. */
static case_t make(shape_t s, int ta, int tb, int parts, size_t gap, float (*number)(void)) {
  size_t a_rows = ta ? s.k : s.m, a_columns = ta ? s.m : s.k, b_rows = tb ? s.n : s.k, b_columns = tb ? s.k : s.n;
  case_t t = {.a = matrix(a_rows, a_columns + gap, a_columns, number),
              .b = matrix(b_rows, b_columns + gap, b_columns, number),
              .c = matrix(s.m, s.n + gap, s.n, number)};
  t.g = (gemm_t){.m = s.m, .n = s.n, .k = s.k, .a = t.a, .lda = a_columns + gap, .trans_a = ta, .b = t.b,
                 .ldb = b_columns + gap, .trans_b = tb, .c = t.c, .ldc = s.n + gap, .alpha = 1, .parts = parts};
  return t;
}
static void drop(case_t *t) {
  float *all[] = {t->a, t->b, t->c, t->bias, t->row_bias, t->scale, t->residual};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static double exact(const gemm_t *g, size_t i, size_t j) {
  double sum = 0;
  for (size_t l = 0; l < g->k; l++) {
    double x = g->trans_a ? g->a[l * g->lda + i] : g->a[i * g->lda + l];
    sum += x * (g->trans_b ? g->b[j * g->ldb + l] : g->b[l * g->ldb + j]);
  }
  sum = sum * g->alpha + (g->bias ? g->bias[j] : 0) + (g->row_bias ? g->row_bias[i] : 0);
  if (g->act == ACT_RELU) sum = fmax(sum, 0);
  if (g->act == ACT_GELU_ERF) sum = sum / 2 * erfc(-sum / sqrt(2));
  if (g->act == ACT_GELU_TANH) sum = sum / 2 * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (sum + 0.044715 * sum * sum * sum)));
  return sum * (g->scale ? g->scale[j] : 1);
}

/* Results whose mean square says what size they have; of fewer, that is taken of the terms of their sums. */
#define MANY 32

/* Sum of the squares of what is added up. */
static double squares_of_terms(const gemm_t *g, size_t i, size_t j) {
  double squares = 0;
  for (size_t l = 0; l < g->k; l++) {
    double x = g->trans_a ? g->a[l * g->lda + i] : g->a[i * g->lda + l];
    x *= g->trans_b ? g->b[j * g->ldb + l] : g->b[l * g->ldb + j];
    squares += x * x;
  }
  return squares;
}

/* The largest error, by the root of the mean square of the sums. */
static double error_of(const gemm_t *g, const float *residual) {
  double worst = 0, squares = 0;
  for (size_t i = 0; i < g->m; i++) {
    for (size_t j = 0; j < g->n; j++) {
      double y = exact(g, i, j);
      squares += g->m * g->n < MANY ? squares_of_terms(g, i, j) : y * y;
      double e = fabs(y + (residual ? residual[i * g->ldc + j] : 0) - g->c[i * g->ldc + j]);
      worst = e > worst || isnan(e) ? e : worst;
    }
  }
  return worst == 0 ? 0 : worst / sqrt(squares / (double)(g->m * g->n));
}

/* ---------------------------------------------------------------- tests */

static const shape_t SHAPES[] = {{33, 47, 31}, {256, 96, 100}, {1, 5, 300}, {16, 16, 32}, {17, 1, 1},
                                 {130, 260, 70}, {32, 32, 64}, {1, 1, 33}, {63, 31, 65}};
#define COUNT(list) (sizeof(list) / sizeof *(list))
static const double LARGEST[3] = {0, 2e-2, 1e-4};

static void test_random_numbers(void) {
  for (int parts = 1; parts <= 2; parts++) {
    double worst = 0;
    for (size_t s = 0; s < COUNT(SHAPES); s++) {
      for (int variant = 0; variant < 8; variant++) {
        case_t t = make(SHAPES[s], variant & 1, variant >> 1 & 1, parts, variant >> 2 ? 3 : 0, normal);
        CHECK(gemm(&t.g, on_three_threads, 0) == 0, "memory");
        double e = error_of(&t.g, 0);
        CHECK(e < LARGEST[parts], "%zu x %zu x %zu, variant %d, %d parts: error %g", t.g.m, t.g.n, t.g.k, variant, parts, e);
        worst = e > worst ? e : worst;
        drop(&t);
      }
    }
    printf("level %d, %d part(s): largest error %.1e of the results' root mean square\n", gemm_level(), parts, worst);
  }
}

static void test_integers_are_exact(void) {
  for (int parts = 1; parts <= 2; parts++) {
    for (size_t s = 0; s < COUNT(SHAPES); s++) {
      for (int variant = 0; variant < 8; variant++) {
        case_t t = make(SHAPES[s], variant & 1, variant >> 1 & 1, parts, variant >> 2 ? 5 : 0, small_integer);
        gemm(&t.g, on_three_threads, 0);
        CHECK(error_of(&t.g, 0) == 0, "integers, %zu x %zu x %zu, variant %d", t.g.m, t.g.n, t.g.k, variant);
        for (size_t i = 0; i + 1 < t.g.m; i++) { /* what lies between the rows of C stays as it was */
          for (size_t j = t.g.n; j < t.g.ldc; j++) CHECK(isnan(t.c[i * t.g.ldc + j]), "written between rows");
        }
        drop(&t);
      }
    }
  }
}

static void test_what_follows(void) {
  for (int act = ACT_NONE; act <= ACT_RELU; act++) {
    case_t t = make((shape_t){70, 45, 50}, 0, 1, 2, 2, normal);
    t.bias = matrix(1, 45, 45, normal);
    t.row_bias = matrix(1, 70, 70, normal);
    t.scale = matrix(1, 45, 45, normal);
    t.residual = matrix(70, 47, 45, normal);
    t.g.bias = t.bias;
    t.g.row_bias = t.row_bias;
    t.g.scale = t.scale;
    t.g.alpha = 0.375f;
    t.g.act = (enum gemm_act)act;
    gemm(&t.g, in_turn, 0);
    CHECK(error_of(&t.g, 0) < 1e-4, "activation %d", act);
    t.g.residual = t.residual;
    gemm(&t.g, in_turn, 0);
    CHECK(error_of(&t.g, t.residual) < 1e-4, "activation %d and a residual", act);
    drop(&t);
  }
}

static void test_packed_ahead(void) {
  for (int tb = 0; tb <= 1; tb++) {
    case_t t = make((shape_t){70, 75, 90}, 0, tb, 1, 0, normal);
    gemm(&t.g, in_turn, 0);
    float *before = malloc(70 * 75 * 4);
    memcpy(before, t.c, 70 * 75 * 4);
    void *packed = aligned_alloc(64, gemm_packed_bytes(75, 90, 1));
    gemm_pack_b(&t.g, packed, on_three_threads, 0);
    t.g.packed_b = packed;
    memset(t.c, 0, 70 * 75 * 4);
    gemm(&t.g, on_three_threads, 0);
    CHECK(memcmp(before, t.c, 70 * 75 * 4) == 0, "packed ahead");
    free(packed);
    free(before);
    drop(&t);
  }
}

static void test_batches(size_t count, shape_t s) {
  size_t a = s.m * s.k, b = s.k * s.n, c = s.m * s.n;
  for (int shared = 0; shared <= 1; shared++) {
    float *as = matrix(count, a, a, small_integer), *bs = matrix(shared ? 1 : count, b, b, small_integer), *cs = matrix(count, c, c, normal);
    gemm_t g = {.m = s.m, .n = s.n, .k = s.k, .a = as, .lda = s.k, .b = bs, .ldb = s.n, .c = cs, .ldc = s.n, .alpha = 2, .parts = 1};
    gemm_batch(&g, count, a, shared ? 0 : b, c, on_three_threads, 0);
    for (size_t i = 0; i < count; i++) {
      gemm_t item = g;
      item.a += i * a;
      item.b += shared ? 0 : i * b;
      item.c += i * c;
      CHECK(error_of(&item, 0) == 0, "product %zu of a batch", i);
    }
    free(as);
    free(bs);
    free(cs);
  }
}

static void test_empty(void) {
  case_t t = make((shape_t){3, 4, 0}, 0, 0, 2, 0, normal);
  gemm(&t.g, in_turn, 0);
  for (int i = 0; i < 12; i++) CHECK(t.c[i] == 0, "a sum of nothing");
  drop(&t);
  case_t none = make((shape_t){0, 4, 3}, 0, 0, 1, 0, normal);
  CHECK(gemm(&none.g, in_turn, 0) == 0, "no rows");
  drop(&none);
}

/* A number that is not finite spoils its row or its column, and nothing else. */
static void test_not_finite(void) {
  const float specials[] = {NAN, INFINITY, -INFINITY, 3.4e38f};
  for (size_t s = 0; s < COUNT(specials); s++) {
    for (int parts = 1; parts <= 2; parts++) {
      for (int variant = 0; variant < 4; variant++) {
        case_t t = make((shape_t){40, 37, 50}, variant & 1, variant >> 1, parts, 0, normal);
        t.a[variant & 1 ? 7 * 40 + 33 : 33 * 50 + 7] = specials[s]; /* A [33, 7] */
        t.b[variant >> 1 ? 5 * 50 + 9 : 9 * 37 + 5] = specials[s];  /* B [9, 5] */
        gemm(&t.g, in_turn, 0);
        for (size_t i = 0; i < 40; i++) {
          for (size_t j = 0; j < 37; j++) {
            float y = t.c[i * 37 + j];
            int is_hit = i == 33 || j == 5;
            CHECK(is_hit ? !isfinite(y) : fabs(y - exact(&t.g, i, j)) < 1, "%g at %zu, %zu gave %g", specials[s], i, j, y);
            double wanted = exact(&t.g, i, j);
            if (parts == 1 && is_hit && isinf(specials[s])) {
              CHECK(isinf(wanted) ? y == (float)wanted : isnan(y), "an infinity gave %g, not %g", y, wanted);
            }
          }
        }
        drop(&t);
      }
    }
  }
}

static void all(void) {
  test_random_numbers();
  test_integers_are_exact();
  test_what_follows();
  test_packed_ahead();
  test_batches(9, (shape_t){20, 33, 40});
  test_batches(2, (shape_t){200, 170, 160});
  test_empty();
  test_not_finite();
}

int main(void) { return at_each_level(all); }
