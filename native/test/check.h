/* What the tests of native/ share: checks, threads, numbers. */
#pragma once
#include "../gemm.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;
#define CHECK(condition, ...)    \
  do {                           \
    if (!(condition)) {          \
      failures++;                \
      fprintf(stderr, "not ok: "); \
      fprintf(stderr, __VA_ARGS__); \
      fprintf(stderr, "\n");     \
    }                            \
  } while (0)

/* ---------------------------------------------------------------- threads */

typedef struct {
  task_fn task;
  void *context;
  size_t count;
  atomic_size_t next;
} work_t;

static void *worker(void *pointer) {
  work_t *work = pointer;
  for (size_t i; (i = atomic_fetch_add(&work->next, 1)) < work->count;) work->task(work->context, i);
  return 0;
}
static void on_three_threads(void *pool, size_t count, task_fn task, void *context) {
  (void)pool;
  work_t work = {.task = task, .context = context, .count = count};
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], 0, worker, &work);
  worker(&work);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], 0);
}
static void in_turn(void *pool, size_t count, task_fn task, void *context) {
  (void)pool;
  for (size_t i = 0; i < count; i++) task(context, i);
}

/* ---------------------------------------------------------------- numbers */

static uint64_t state = 1;
static uint32_t random_bits(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33);
}
static float normal(void) {
  float sum = 0;
  for (int i = 0; i < 4; i++) sum += (float)random_bits() / 0x1p31f - .5f;
  return sum * 1.7f;
}
/* Products and sums of these are exact in f32, and they are exact in bf16: every level has to give the same bits. */
static float small_integer(void) { return (float)(random_bits() % 15) - 7; }

static float *matrix(size_t rows, size_t ld, size_t columns, float (*number)(void)) {
  size_t size = rows ? (rows - 1) * ld + columns : 0;
  float *x = malloc(size ? size * sizeof *x : 1);
  for (size_t i = 0; i < size; i++) x[i] = i % ld < columns ? number() : NAN; /* what lies between rows is not read */
  return x;
}

/* Runs the tests at each level that this processor has; the exit status. */
static int at_each_level(void (*tests)(void)) {
  enum gemm_level best = gemm_level();
  if (best == LEVEL_NONE) puts("this processor has no units for bf16: nothing to test");
  for (int level = LEVEL_AVX512_BF16; level <= (int)best; level++) {
    gemm_limit((enum gemm_level)level);
    tests();
  }
  printf(failures ? "%d failures\n" : "all as they should be\n", failures);
  return failures > 0;
}
