#pragma once
#include "gemm.h"

/* c [32, 32], rows ldc apart = a b, of packed panels that are `steps` KSTEPs deep; rows from `rows` on need not be made. */
typedef void (*kernel_fn)(const char *a, const char *b, size_t steps, int parts, float *c, size_t ldc, size_t rows);

void kernel_512(const char *a, const char *b, size_t steps, int parts, float *c, size_t ldc, size_t rows);
/* Between amx_begin and amx_end, on one thread. */
void kernel_amx(const char *a, const char *b, size_t steps, int parts, float *c, size_t ldc, size_t rows);
void amx_begin(void);
void amx_end(void);

/* act(alpha sums + bias + row bias) (*) scale + residual, of rows x columns of sums [32, 32], to C at (row, column). */
void finish(const gemm_t *g, const float *sums, size_t row, size_t column, size_t rows, size_t columns);

/* C rows m0..m1, columns n0..n1, of packed operands; `a` is the panel of m0, `b` that of column 0. */
void multiply(const gemm_t *g, const char *a, const char *b, size_t m0, size_t m1, size_t n0, size_t n1);
