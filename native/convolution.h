/*
 * Convolutions (cross-correlations) of images by units for bf16: weights and images are rounded, sums kept in f32.
 *
 * Of an enlarged image, each of whose pixels has become 2 x 2, a kernel of 3 x 3 sees 2 x 2 pixels of the image itself:
 * which of its weights fall on the same of them depends on whether row and column of the output are even. So there are
 * four sums of weights, of 4 terms in the place of 9. The sums are rounded.
 */
#pragma once
#include "gemm.h"

typedef struct {
  size_t batch, in_channels, height, width;
  size_t out_channels, kernel_height, kernel_width;
  size_t out_height, out_width;
  size_t stride, dilation; /* of both axes */
  size_t top, left;        /* rows and columns of zeros before the image; those after it are as the output needs */
  int is_enlarged;         /* kernels of 3 x 3, stride and dilation 1, one row and column of zeros on each side; no residual */
  const float *x;          /* [batch, in_channels, height, width], or null where there are pairs */
  const uint32_t *pairs;   /* of bf16, of channels that are neighbours [batch, in_channels / 2, height, width], or null */
  const void *packed;      /* what convolution_pack made of the weights */
  const float *bias;       /* [out_channels], or null */
  enum gemm_act act;
  const float *residual;   /* what is added to y in the end, of its shape, or null */
  float *y; /* [batch, out_channels, out_height, out_width] */
} convolution_t;

/* Of channels and kernel alone. */
size_t convolution_packed_bytes(const convolution_t *c);
/* weight [out_channels, in_channels, kernel_height, kernel_width]. */
void convolution_pack(const convolution_t *c, const float *weight, void *out);

/* 0, or -1 when memory runs out. Needs units. */
int convolution(const convolution_t *c, parallel_fn parallel, void *pool);
