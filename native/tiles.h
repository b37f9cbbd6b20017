/*
 * The instructions of AMX by their intrinsics; or, with REPA_EMULATE_AMX, a model of them for processors that have
 * none, by which the packing and the loops around them can be tested anywhere.
 */
#pragma once
#include "units.h"
#include <stdint.h>

#ifndef REPA_EMULATE_AMX

#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from, stride) _tile_loadd(t, from, stride)
#define tile_store(t, to, stride) _tile_stored(t, to, stride)
#define tile_product(c, a, b) _tile_dpbf16ps(c, a, b)

#else

#include <string.h>
#undef TARGETAMX
#define TARGETAMX TARGET512

/* Eight tiles of 16 rows of 64 bytes. */
static _Thread_local char tiles[8][16][64];

static inline float float_of_bf16(const char *from) {
  uint16_t high;
  memcpy(&high, from, 2);
  uint32_t bits = (uint32_t)high << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

static inline void tile_zero(int t) { memset(tiles[t], 0, sizeof tiles[t]); }
static inline void tile_load(int t, const void *from, size_t stride) {
  for (size_t row = 0; row < 16; row++) memcpy(tiles[t][row], (const char *)from + row * stride, 64);
}
static inline void tile_store(int t, void *to, size_t stride) {
  for (size_t row = 0; row < 16; row++) memcpy((char *)to + row * stride, tiles[t][row], 64);
}
/* c [16, 16] f32 += a [16][pair] b [pair][16] */
static inline void tile_product(int c, int a, int b) {
  for (int row = 0; row < 16; row++) {
    for (int column = 0; column < 16; column++) {
      float sum;
      memcpy(&sum, &tiles[c][row][4 * column], 4);
      for (int pair = 0; pair < 16; pair++) {
        const char *x = &tiles[a][row][4 * pair], *y = &tiles[b][pair][4 * column];
        sum += float_of_bf16(x) * float_of_bf16(y) + float_of_bf16(x + 2) * float_of_bf16(y + 2);
      }
      memcpy(&tiles[c][row][4 * column], &sum, 4);
    }
  }
}

#endif
