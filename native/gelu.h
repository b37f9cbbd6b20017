#pragma once
#include "gemm.h"

/* y = act(x), dx = act'(x) dy, of one of the two forms of GELU; arrays of `count`, which may be one another. */
typedef struct {
  size_t count;
  const float *x, *dy;
  float *y, *dx;
  enum gemm_act act;
} gelu_gradient_t;

void gelu_gradient(const gelu_gradient_t *g, parallel_fn parallel, void *pool);
