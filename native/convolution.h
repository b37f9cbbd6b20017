/* Convolutions (cross-correlations) of images by units for bf16: weights and images are rounded, sums kept in f32. */
#pragma once
#include "gemm.h"

typedef struct {
  size_t batch, in_channels, height, width;
  size_t out_channels, kernel_height, kernel_width;
  size_t out_height, out_width;
  size_t stride, dilation; /* of both axes */
  size_t top, left;        /* rows and columns of zeros before the image; those after it are as the output needs */
  const float *x;          /* [batch, in_channels, height, width] */
  const void *packed;      /* what convolution_pack made of the weights */
  const float *bias;       /* [out_channels], or null */
  enum gemm_act act;
  float *y; /* [batch, out_channels, out_height, out_width] */
} convolution_t;

/* Of channels and kernel alone. */
size_t convolution_packed_bytes(const convolution_t *c);
/* weight [out_channels, in_channels, kernel_height, kernel_width]. */
void convolution_pack(const convolution_t *c, const float *weight, void *out);

/* 0, or -1 when memory runs out. Needs units. */
int convolution(const convolution_t *c, parallel_fn parallel, void *pool);
