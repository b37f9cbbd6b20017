/* Products by the tiles of AMX. */
#include "kernels.h"
#include "tiles.h"

#define TILES(a0, a1, b0, b1) \
  tile_product(0, a0, b0);    \
  tile_product(1, a0, b1);    \
  tile_product(2, a1, b0);    \
  tile_product(3, a1, b1)

TARGETAMX void kernel_amx(const char *a, const char *b, size_t steps, int parts, float *c, size_t ldc, size_t rows) {
  (void)rows; /* tiles take as long */
  tile_zero(0);
  tile_zero(1);
  tile_zero(2);
  tile_zero(3);
  if (parts == 1) {
    for (size_t s = 0; s < steps; s++, a += 2 * BLOCK, b += 2 * BLOCK) {
      tile_load(4, a, 64);
      tile_load(6, b, 64);
      tile_load(7, b + BLOCK, 64);
      tile_load(5, a + BLOCK, 64);
      TILES(4, 5, 6, 7);
    }
  } else {
    for (size_t s = 0; s < steps; s++, a += 4 * BLOCK, b += 4 * BLOCK) {
      tile_load(4, a + 2 * BLOCK, 64); /* both low */
      tile_load(5, a + 3 * BLOCK, 64);
      tile_load(6, b + 2 * BLOCK, 64);
      tile_load(7, b + 3 * BLOCK, 64);
      TILES(4, 5, 6, 7);
      tile_load(6, b, 64); /* low of A, high of B */
      tile_load(7, b + BLOCK, 64);
      TILES(4, 5, 6, 7);
      tile_load(4, a, 64); /* both high */
      tile_load(5, a + BLOCK, 64);
      TILES(4, 5, 6, 7);
      tile_load(6, b + 2 * BLOCK, 64); /* high of A, low of B */
      tile_load(7, b + 3 * BLOCK, 64);
      TILES(4, 5, 6, 7);
    }
  }
  tile_store(0, c, ldc * 4);
  tile_store(1, c + 16, ldc * 4);
  tile_store(2, c + 16 * ldc, ldc * 4);
  tile_store(3, c + 16 * ldc + 16, ldc * 4);
}

#ifdef REPA_EMULATE_AMX

void amx_begin(void) {}
void amx_end(void) {}

#else

/*
 * Eight tiles of 16 rows of 64 bytes. A constant: gcc 12 takes _tile_loadconfig to read 8 bytes, and drops other
 * stores.
 */
static const struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} CONFIGURATION = {
    .palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

TARGETAMX void amx_begin(void) { _tile_loadconfig(&CONFIGURATION); }
TARGETAMX void amx_end(void) { _tile_release(); }

#endif
