#pragma once
#include "gemm.h"

/*
 * Group normalisation of images (arXiv 1803.08494): each group of channels has mean 0 and variance 1, then each channel
 * its scale and shift, then perhaps x sigmoid(x).
 */
typedef struct {
  size_t batch, channels, groups, places; /* places: height times width */
  float epsilon;
  int is_silu;
  int is_paired;      /* y is rounded to bf16, for a convolution; groups have an even number of channels then */
  const float *x;     /* [batch, channels, places] */
  const float *scale; /* [channels], or null */
  const float *shift; /* [channels], or null */
  void *y;            /* f32 [batch, channels, places], or pairs of bf16 [batch, channels / 2, places] */
} group_norm_t;

/* Needs no units where y is f32. */
void group_norm(const group_norm_t *n, parallel_fn parallel, void *pool);
