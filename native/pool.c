/* Means of windows: sums of columns first, then of these. */
#include "pool.h"
#include "scratch.h"
#include "units.h"
#include <stdatomic.h>
#include <string.h>

typedef struct {
  const pool_t *p;
  atomic_int failed;
} plan_t;

/* How many of the window that begins at `from`, before which there is padding, lie in 0..size. */
static size_t inside(size_t from, size_t window, size_t padding, size_t size) {
  size_t first = from < padding ? padding : from, last = MIN(from + window, size + padding);
  return last > first ? last - first : 0;
}

TARGET512 static void plane_task(void *context, size_t index) {
  plan_t *plan = context;
  const pool_t *p = plan->p;
  size_t padded = (p->out_width - 1) * p->stride + p->size;
  if (padded < p->left + p->width) padded = p->left + p->width;
  float *columns = (float *)scratch(0, (padded + p->out_width) * sizeof(float)), *counts = columns + padded;
  if (!columns) {
    plan->failed = 1;
    return;
  }
  for (size_t x = 0; x < p->out_width; x++)
    counts[x] = (float)(p->count_padding ? p->size : inside(x * p->stride, p->size, p->left, p->width));
  memset(columns, 0, padded * sizeof(float));
  for (size_t y = 0; y < p->out_height; y++) {
    size_t from = y * p->stride, rows = inside(from, p->size, p->top, p->height);
    const float *row = p->x + (index * p->height + (from < p->top ? 0 : from - p->top)) * p->width;
    float *sums = columns + p->left, *out = p->y + (index * p->out_height + y) * p->out_width;
    memset(sums, 0, p->width * sizeof(float));
    for (size_t i = 0; i < rows; i++, row += p->width)
      for (size_t x = 0; x < p->width; x++) sums[x] += row[x];
    float height = (float)(p->count_padding ? p->size : rows);
    for (size_t x = 0; x < p->out_width; x++) {
      float sum = 0;
      for (size_t i = 0; i < p->size; i++) sum += columns[x * p->stride + i];
      out[x] = sum / (height * counts[x]);
    }
  }
}

int average_pool(const pool_t *p, parallel_fn parallel, void *pool) {
  if (p->planes == 0 || p->out_height == 0 || p->out_width == 0) return 0;
  plan_t plan = {.p = p};
  parallel(pool, p->planes, plane_task, &plan);
  return plan.failed ? -1 : 0;
}
