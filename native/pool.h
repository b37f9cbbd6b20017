#pragma once
#include "gemm.h"

/* Means of windows of size x size of images; ONNX Runtime's take longer than the convolutions around them. */
typedef struct {
  size_t planes, height, width; /* planes: images times channels */
  size_t out_height, out_width, size, stride, top, left;
  int count_padding;
  const float *x; /* [planes, height, width] */
  float *y;       /* [planes, out_height, out_width] */
} pool_t;

/* 0, or -1 when memory runs out. Needs no units beyond AVX512. */
int average_pool(const pool_t *p, parallel_fn parallel, void *pool);
