/* Compares attention at each level with f64. */
#include "check.h"

typedef struct {
  size_t batch, heads, queries, keys, depth;
} sizes_t;

static double *weights_of(const attention_t *t, size_t item, size_t head, size_t query) {
  size_t ld = t->heads * t->depth;
  const float *q = t->q + (item * t->queries + query) * ld + head * t->depth;
  double *weights = malloc(t->keys * sizeof *weights), largest = -INFINITY, sum = 0;
  for (size_t j = 0; j < t->keys; j++) {
    const float *k = t->k + (item * t->keys + j) * ld + head * t->depth;
    weights[j] = 0;
    for (size_t l = 0; l < t->depth; l++) weights[j] += (double)q[l] * k[l];
    weights[j] *= t->scale;
    largest = fmax(largest, weights[j]);
  }
  for (size_t j = 0; j < t->keys; j++) sum += weights[j] = exp(weights[j] - largest);
  for (size_t j = 0; j < t->keys; j++) weights[j] /= sum;
  return weights;
}

/* The largest error of one output by the root of their mean square. */
static double error_of(const attention_t *t) {
  double worst = 0, squares = 0;
  size_t ld = t->heads * t->depth, count = t->batch * t->queries * ld;
  for (size_t item = 0; item < t->batch; item++) {
    for (size_t head = 0; head < t->heads; head++) {
      for (size_t query = 0; query < t->queries; query++) {
        double *weights = weights_of(t, item, head, query);
        for (size_t l = 0; l < t->depth; l++) {
          double y = 0;
          for (size_t j = 0; j < t->keys; j++) y += weights[j] * t->v[(item * t->keys + j) * ld + head * t->depth + l];
          double e = fabs(y - t->y[(item * t->queries + query) * ld + head * t->depth + l]);
          worst = e > worst || isnan(e) ? e : worst;
          squares += y * y;
        }
        free(weights);
      }
    }
  }
  return worst / sqrt(squares / (double)count);
}

static attention_t make(sizes_t s, float scale) {
  size_t ld = s.heads * s.depth;
  attention_t t = {.batch = s.batch, .heads = s.heads, .queries = s.queries, .keys = s.keys, .depth = s.depth, .scale = scale};
  t.q = matrix(s.batch * s.queries, ld, ld, normal);
  t.k = matrix(s.batch * s.keys, ld, ld, normal);
  t.v = matrix(s.batch * s.keys, ld, ld, normal);
  t.y = matrix(s.batch * s.queries, ld, ld, normal);
  return t;
}
static void drop(attention_t *t) {
  free((float *)t->q);
  free((float *)t->k);
  free((float *)t->v);
  free(t->y);
}

static void test_random_numbers(void) {
  static const sizes_t SIZES[] = {{2, 3, 40, 33, 16}, {1, 1, 5, 1, 7},     {1, 2, 257, 257, 64}, {3, 4, 16, 16, 48},
                                  {1, 1, 300, 90, 96}, {1, 6, 1, 600, 32}, {1, 1, 70, 2100, 8}};
  double worst = 0;
  for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
    attention_t t = make(SIZES[i], 1 / sqrtf((float)SIZES[i].depth));
    CHECK(attention(&t, on_three_threads, 0) == 0, "memory");
    double e = error_of(&t);
    CHECK(e < 5e-2, "%zu queries, %zu keys, depth %zu: error %g", t.queries, t.keys, t.depth, e);
    worst = e > worst ? e : worst;
    drop(&t);
  }
  printf("level %d: largest error of attention %.1e of the results' root mean square\n", gemm_level(), worst);
}

/* Large logits, of either sign of the scale: one weight is 1, the others 0. */
static void test_large_logits(void) {
  for (int sign = -1; sign <= 1; sign += 2) {
    attention_t t = make((sizes_t){1, 2, 40, 50, 16}, (float)sign * 1000);
    CHECK(attention(&t, in_turn, 0) == 0, "memory");
    for (size_t i = 0; i < 40 * 32; i++) CHECK(fabsf(t.y[i]) < 4, "an output is beyond all values: %g", t.y[i]);
    drop(&t);
  }
}

/* What is not finite in a query spoils that query of that head; in a key or a value, all queries of that head. */
static void test_not_finite(void) {
  for (int where = 0; where < 3; where++) {
    attention_t t = make((sizes_t){2, 2, 40, 50, 16}, 0.25f);
    float *array = (float *)(where == 0 ? t.q : where == 1 ? t.k : t.v);
    array[7 * 32 + 3] = NAN; /* item 0, token 7, head 0, place 3 */
    attention(&t, on_three_threads, 0);
    for (size_t i = 0; i < 2 * 40 * 32; i++) {
      size_t token = i / 32, head = i % 32 / 16;
      int is_hit = token < 40 && head == 0 && (where == 0 ? token == 7 : where == 1 ? 1 : i % 32 == 3);
      CHECK(is_hit ? isnan(t.y[i]) : isfinite(t.y[i]), "a NaN in operand %d gave %g at token %zu", where, t.y[i], token);
    }
    drop(&t);
  }
}

static void test_none(void) {
  attention_t t = make((sizes_t){0, 2, 4, 5, 8}, 1);
  CHECK(attention(&t, in_turn, 0) == 0, "no images");
  drop(&t);
}

static void all(void) {
  test_random_numbers();
  test_large_logits();
  test_not_finite();
  test_none();
}

int main(void) { return at_each_level(all); }
