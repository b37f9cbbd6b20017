/*
 * Products of f32 matrices by units for bf16. Operands are rounded to bf16 while they are packed; sums are kept in f32.
 *
 *   C [m, n] = act(alpha op(A) op(B) + bias + row bias) (*) scale + residual
 *
 * With one part an operand is its bf16 (8 bits). With two it is a sum of two bf16 (16 bits), whose error is 2^-18 at
 * most, and the product is that of all four parts. Products of denormals are zero, as the units have it. Numbers above
 * the largest bf16 (3.3895e38) count as infinite. What depends on an infinity is not finite; with two parts it may be
 * NaN where IEEE arithmetic gives an infinity.
 *
 * The caller says how tasks run on several threads, so that a host's own pool can be used.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef void (*task_fn)(void *context, size_t index);
/* Runs task(context, i) for each i below count, in any order, on any threads, and returns when all are done. */
typedef void (*parallel_fn)(void *pool, size_t count, task_fn task, void *context);

enum gemm_act { ACT_NONE, ACT_GELU_ERF, ACT_GELU_TANH, ACT_RELU };

typedef struct {
  size_t m, n, k;
  const float *a; /* [m, k], or [k, m] if trans_a; rows are lda apart */
  size_t lda;
  int trans_a;
  const float *b; /* [k, n], or [n, k] if trans_b; rows are ldb apart */
  size_t ldb;
  int trans_b;
  float *c; /* [m, n], rows are ldc apart; may be neither a nor b */
  size_t ldc;
  float alpha;
  const float *bias;     /* [n], or null */
  const float *row_bias; /* [m], or null */
  const float *scale;    /* [n], or null */
  const float *residual; /* [m, n] with rows ldc apart, or null */
  enum gemm_act act;
  int parts;            /* 1 or 2 */
  const void *packed_b; /* what gemm_pack_b made of b, or null */
} gemm_t;

/* Units that there may be. */
enum gemm_level { LEVEL_NONE, LEVEL_AVX512_BF16, LEVEL_AMX };

/* The best units of this processor that the system lets a process use; asks Linux for the registers of AMX. */
enum gemm_level gemm_level(void);
/* For tests: from now on, none above this. */
void gemm_limit(enum gemm_level level);

/* 0, or -1 when memory runs out. Needs units. */
int gemm(const gemm_t *g, parallel_fn parallel, void *pool);

/* Many products of one shape, whose matrices lie these strides apart, in floats (0: the same for all). */
int gemm_batch(const gemm_t *g, size_t count, size_t stride_a, size_t stride_b, size_t stride_c, parallel_fn parallel,
               void *pool);

/* Packs b ahead, for products that use it often. */
size_t gemm_packed_bytes(size_t n, size_t k, int parts);
void gemm_pack_b(const gemm_t *g, void *out, parallel_fn parallel, void *pool);

/* softmax(scale q k^T) v of each head (arXiv 1706.03762), of operands rounded to bf16. */
typedef struct {
  size_t batch, heads, queries, keys, depth;
  const float *q;        /* [batch, queries, heads, depth] */
  const float *k, *v;    /* [batch, keys, heads, depth] */
  float *y;              /* [batch, queries, heads, depth]; none of the above */
  float scale;
} attention_t;

/* 0, or -1 when memory runs out. Needs units, and keys. */
int attention(const attention_t *t, parallel_fn parallel, void *pool);
