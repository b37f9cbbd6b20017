#pragma once
#include "units.h"

/*
 * Rows i0..i1 (i0 a multiple of PANEL) and steps s0..s1 of k of a matrix [i, k], into the panels at `out` (that of i0).
 * `along_k` says that neighbours along k are neighbours in memory; `pair_major` chooses [pair][i] over [i][pair].
 * What lies beyond the matrix is zero.
 */
void pack(const float *src, size_t ld, int along_k, int pair_major, size_t i0, size_t i1, size_t s0, size_t s1, size_t k,
          int parts, char *out);
