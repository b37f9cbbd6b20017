/* What all parts of the products share: the layout of packed operands, and the instructions that may be used. */
#pragma once
#include <immintrin.h>
#include <stddef.h>

/*
 * Operands are packed into blocks of 16 x 16 dwords, a dword being two bf16 that are neighbours along k: one tile of
 * AMX. Of A a block is [row][pair], of B [pair][column]. Panels are 32 rows of A or 32 columns of B wide; within a
 * panel the two blocks of 32 k lie side by side. With two parts, those of the low halves follow.
 */
#define PANEL 32   /* rows or columns */
#define BLOCK 1024 /* bytes */
#define KSTEP 32   /* of k in a block */
#define PAIR 4     /* bytes of two bf16 */

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define TARGET512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#define TARGETAMX __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma,amx-tile,amx-bf16")))

static inline size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }
/* Of a panel that is k deep. */
static inline size_t panel_bytes(size_t k, int parts) { return ceil_div(k, KSTEP) * 2 * BLOCK * (size_t)parts; }
