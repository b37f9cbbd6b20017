/* The loops over panels, and their division among threads. */
#include "gemm.h"
#include "kernels.h"
#include "pack.h"
#include "scratch.h"
#include <stdatomic.h>

/* Rows of A that a task packs at a time: with k of a transformer's width they fit the second cache. */
#define ROWS_PER_TASK 128
/* Tasks that there should be: more than threads, so that none waits long for the last. */
#define TASKS 8
/* Columns of B that are worth packing A again. */
#define COLUMNS_PER_TASK 128
/* A batch of fewer products than TASKS is divided within each of them when one is at least so large. */
#define LARGE_PRODUCT (1 << 22)

size_t gemm_packed_bytes(size_t n, size_t k, int parts) { return ceil_div(n, PANEL) * panel_bytes(k, parts); }

/* ---------------------------------------------------------------- tasks */

typedef struct {
  const gemm_t *g;
  char *b;
  size_t rows, columns, row_tasks; /* of a product */
  size_t units;                    /* panels or steps of k of a task of packing */
  size_t stride_a, stride_b, stride_c;
  atomic_int failed;
} plan_t;

void multiply(const gemm_t *g, const char *a, const char *b, size_t m0, size_t m1, size_t n0, size_t n1) {
  float sums[PANEL * PANEL] __attribute__((aligned(64)));
  int is_amx = gemm_level() == LEVEL_AMX;
  kernel_fn kernel = is_amx ? kernel_amx : kernel_512;
  size_t steps = ceil_div(g->k, KSTEP), panel = panel_bytes(g->k, g->parts);
  int is_plain = !g->bias && !g->row_bias && !g->scale && !g->residual && g->act == ACT_NONE && g->alpha == 1;
  if (is_amx) amx_begin();
  for (size_t n = n0; n < n1; n += PANEL) {
    for (size_t m = m0; m < m1; m += PANEL) {
      const char *pa = a + (m - m0) / PANEL * panel, *pb = b + n / PANEL * panel;
      if (is_plain && m + PANEL <= m1 && n + PANEL <= n1) {
        kernel(pa, pb, steps, g->parts, g->c + m * g->ldc + n, g->ldc, PANEL);
      } else {
        size_t rows = MIN(PANEL, m1 - m);
        kernel(pa, pb, steps, g->parts, sums, PANEL, rows);
        finish(g, sums, m, n, rows, MIN(PANEL, n1 - n));
      }
    }
  }
  if (is_amx) amx_end();
}

static void pack_b_task(void *context, size_t index) {
  plan_t *p = context;
  const gemm_t *g = p->g;
  size_t steps = ceil_div(g->k, KSTEP), from = index * p->units;
  if (g->trans_b) { /* rows of the matrix are columns of B */
    size_t n0 = from * PANEL, n1 = MIN(g->n, n0 + p->units * PANEL);
    pack(g->b, g->ldb, 1, 1, n0, n1, 0, steps, g->k, g->parts, p->b + from * panel_bytes(g->k, g->parts));
  } else {
    pack(g->b, g->ldb, 0, 1, 0, g->n, from, MIN(steps, from + p->units), g->k, g->parts, p->b);
  }
}

void gemm_pack_b(const gemm_t *g, void *out, parallel_fn parallel, void *pool) {
  size_t units = g->trans_b ? ceil_div(g->n, PANEL) : ceil_div(g->k, KSTEP);
  if (units == 0) return;
  plan_t plan = {.g = g, .b = out, .units = ceil_div(units, TASKS)};
  parallel(pool, ceil_div(units, plan.units), pack_b_task, &plan);
}

static void multiply_task(void *context, size_t index) {
  plan_t *p = context;
  const gemm_t *g = p->g;
  size_t m0 = index % p->row_tasks * p->rows, m1 = MIN(g->m, m0 + p->rows);
  size_t n0 = index / p->row_tasks * p->columns, n1 = MIN(g->n, n0 + p->columns);
  char *a = scratch(0, gemm_packed_bytes(p->rows, g->k, g->parts));
  if (!a) {
    p->failed = 1;
    return;
  }
  pack(g->a, g->lda, !g->trans_a, 0, m0, m1, 0, ceil_div(g->k, KSTEP), g->k, g->parts, a);
  multiply(g, a, p->b, m0, m1, n0, n1);
}

int gemm(const gemm_t *g, parallel_fn parallel, void *pool) {
  if (g->m == 0 || g->n == 0) return 0;
  plan_t plan = {.g = g, .b = (char *)g->packed_b, .rows = ROWS_PER_TASK};
  if (!plan.b) {
    plan.b = scratch(1, gemm_packed_bytes(g->n, g->k, g->parts));
    if (!plan.b) return -1;
    gemm_pack_b(g, plan.b, parallel, pool);
  }
  plan.row_tasks = ceil_div(g->m, plan.rows);
  size_t column_tasks = 1;
  while (plan.row_tasks * column_tasks < TASKS && g->n / (column_tasks + 1) >= COLUMNS_PER_TASK) column_tasks++;
  plan.columns = ceil_div(ceil_div(g->n, PANEL), column_tasks) * PANEL;
  parallel(pool, plan.row_tasks * ceil_div(g->n, plan.columns), multiply_task, &plan);
  return plan.failed ? -1 : 0;
}

static void batch_task(void *context, size_t index) {
  plan_t *p = context;
  gemm_t g = *p->g;
  g.a += index * p->stride_a;
  g.b += index * p->stride_b;
  g.c += index * p->stride_c;
  size_t steps = ceil_div(g.k, KSTEP);
  char *a = scratch(0, gemm_packed_bytes(g.m, g.k, g.parts)), *b = scratch(1, gemm_packed_bytes(g.n, g.k, g.parts));
  if (!a || !b) {
    p->failed = 1;
    return;
  }
  pack(g.a, g.lda, !g.trans_a, 0, 0, g.m, 0, steps, g.k, g.parts, a);
  pack(g.b, g.ldb, g.trans_b, 1, 0, g.n, 0, steps, g.k, g.parts, b);
  multiply(&g, a, b, 0, g.m, 0, g.n);
}

int gemm_batch(const gemm_t *g, size_t count, size_t stride_a, size_t stride_b, size_t stride_c, parallel_fn parallel,
               void *pool) {
  if (count == 0 || g->m == 0 || g->n == 0) return 0;
  if (count >= TASKS || g->m * g->n * g->k < LARGE_PRODUCT) {
    plan_t plan = {.g = g, .stride_a = stride_a, .stride_b = stride_b, .stride_c = stride_c};
    parallel(pool, count, batch_task, &plan);
    return plan.failed ? -1 : 0;
  }
  for (size_t i = 0; i < count; i++) {
    gemm_t item = *g;
    item.a += i * stride_a;
    item.b += i * stride_b;
    item.c += i * stride_c;
    if (gemm(&item, parallel, pool) != 0) return -1;
  }
  return 0;
}
