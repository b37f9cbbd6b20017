/*
 * softmax(scale q k^T) v, head by head: the weights of a block of queries exist at a time, and never leave the cache.
 */
#include "exponential.h"
#include "gemm.h"
#include "kernels.h"
#include "pack.h"
#include "scratch.h"
#include <math.h>
#include <stdatomic.h>

/* Logits of a block of queries, in bytes: half of a second cache. */
#define BLOCK_OF_LOGITS (1 << 18)
/* Tasks that there should be, so that no thread waits long for the last. */
#define TASKS 8

typedef struct {
  const attention_t *t;
  size_t rows, blocks; /* queries of a block, blocks of a head */
  size_t blocks_per_task, tasks_per_head;
  atomic_int failed;
} plan_t;

/* exp(scale x - largest) of each row in place of x [rows, keys]; one by the sum of a row into `inverse`. */
TARGET512 static void exponentials(float *x, size_t ld, size_t rows, size_t keys, float scale, float *inverse) {
  __m512 factor = _mm512_set1_ps(scale);
  for (size_t i = 0; i < rows; i++) {
    float *row = x + i * ld;
    __m512 largest = _mm512_set1_ps(-__builtin_inff()), sum = _mm512_setzero_ps();
    for (size_t j = 0; j < keys; j += 16) {
      __mmask16 mask = (__mmask16)(keys - j >= 16 ? 0xffff : (1u << (keys - j)) - 1);
      __m512 scaled = _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask, row + j));
      largest = _mm512_mask_max_ps(largest, mask, scaled, largest);
    }
    __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    for (size_t j = 0; j < keys; j += 16) {
      __mmask16 mask = (__mmask16)(keys - j >= 16 ? 0xffff : (1u << (keys - j)) - 1);
      __m512 power = exp16(_mm512_fmsub_ps(factor, _mm512_maskz_loadu_ps(mask, row + j), top));
      sum = _mm512_mask_add_ps(sum, mask, sum, power);
      _mm512_mask_storeu_ps(row + j, mask, power);
    }
    inverse[i] = 1 / _mm512_reduce_add_ps(sum);
  }
}

TARGET512 static void scale_rows(float *y, size_t ld, size_t rows, size_t columns, const float *factors) {
  for (size_t i = 0; i < rows; i++) {
    __m512 factor = _mm512_set1_ps(factors[i]);
    for (size_t j = 0; j < columns; j += 16) {
      __mmask16 mask = (__mmask16)(columns - j >= 16 ? 0xffff : (1u << (columns - j)) - 1);
      float *at = y + i * ld + j;
      _mm512_mask_storeu_ps(at, mask, _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask, at)));
    }
  }
}

static void attend_task(void *context, size_t index) {
  plan_t *p = context;
  const attention_t *t = p->t;
  size_t head = index / p->tasks_per_head, first = index % p->tasks_per_head * p->blocks_per_task;
  size_t ld = t->heads * t->depth, item = head / t->heads, column = head % t->heads * t->depth;
  const float *q = t->q + item * t->queries * ld + column, *k = t->k + item * t->keys * ld + column;
  const float *v = t->v + item * t->keys * ld + column;
  float *y = t->y + item * t->queries * ld + column;
  gemm_t logits = {.n = t->keys, .k = t->depth, .ldc = ceil_div(t->keys, PANEL) * PANEL, .alpha = 1, .parts = 1};
  gemm_t mixed = {.n = t->depth, .k = t->keys, .ldc = ld, .alpha = 1, .parts = 1};
  size_t rows = p->rows, of_keys = gemm_packed_bytes(t->keys, t->depth, 1);
  size_t of_values = gemm_packed_bytes(t->depth, t->keys, 1);
  size_t of_queries = gemm_packed_bytes(rows, t->depth, 1), of_weights = gemm_packed_bytes(rows, t->keys, 1);
  char *operands = scratch(0, of_keys + of_values + of_queries + of_weights);
  float *sums = (float *)scratch(1, (rows * logits.ldc + rows) * sizeof(float));
  if (!operands || !sums) {
    p->failed = 1;
    return;
  }
  char *values = operands + of_keys, *queries = values + of_values, *weights = queries + of_queries;
  float *inverse = sums + rows * logits.ldc;
  size_t depth_steps = ceil_div(t->depth, KSTEP), key_steps = ceil_div(t->keys, KSTEP);
  pack(k, ld, 1, 1, 0, t->keys, 0, depth_steps, t->depth, 1, operands);
  pack(v, ld, 0, 1, 0, t->depth, 0, key_steps, t->keys, 1, values);
  for (size_t block = first; block < MIN(p->blocks, first + p->blocks_per_task); block++) {
    size_t from = block * rows, count = MIN(rows, t->queries - from);
    logits.m = mixed.m = count;
    logits.c = sums;
    mixed.c = y + from * ld;
    pack(q + from * ld, ld, 1, 0, 0, count, 0, depth_steps, t->depth, 1, queries);
    multiply(&logits, queries, operands, 0, count, 0, t->keys);
    exponentials(sums, logits.ldc, count, t->keys, t->scale, inverse);
    pack(sums, logits.ldc, 1, 0, 0, count, 0, key_steps, t->keys, 1, weights);
    multiply(&mixed, weights, values, 0, count, 0, t->depth);
    scale_rows(mixed.c, ld, count, t->depth, inverse);
  }
}

int attention(const attention_t *t, parallel_fn parallel, void *pool) {
  size_t heads = t->batch * t->heads;
  if (heads == 0 || t->queries == 0 || t->depth == 0) return 0;
  size_t fitting = BLOCK_OF_LOGITS / sizeof(float) / (t->keys + 1) / PANEL * PANEL;
  plan_t plan = {.t = t, .rows = fitting < PANEL ? PANEL : MIN(fitting, 4 * PANEL)};
  plan.blocks = ceil_div(t->queries, plan.rows);
  /* Each task packs the keys and values of its head: tasks of a head are no more than threads may need. */
  plan.tasks_per_head = MIN(plan.blocks, ceil_div(TASKS, heads));
  plan.blocks_per_task = ceil_div(plan.blocks, plan.tasks_per_head);
  plan.tasks_per_head = ceil_div(plan.blocks, plan.blocks_per_task);
  parallel(pool, heads * plan.tasks_per_head, attend_task, &plan);
  return plan.failed ? -1 : 0;
}
