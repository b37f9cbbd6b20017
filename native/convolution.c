/*
 * Convolutions of images as products: the weights [O, taps, I] times what each output sees of the image [taps, I, places].
 *
 * A task has a block of the places of an image. It rounds the rows that these see to bf16, channels in pairs and with the
 * padding around them; each tap of a kernel then is a window into that, copied into the order in which the kernels read.
 */
#include "convolution.h"
#include "gemm.h"
#include "kernels.h"
#include "scratch.h"
#include "units.h"
#include <stdatomic.h>
#include <string.h>

/* What a block sees of the image, in bytes: half of a second cache. */
#define BLOCK_OF_PLACES (1 << 19)
/* Tasks that there should be, so that no thread waits long for the last. */
#define TASKS 8
#define LANES 16

typedef struct {
  const convolution_t *c;
  size_t pairs, steps;     /* of channels; KSTEPs of a product */
  size_t rows, columns;    /* of places, of a block: whole rows, or a part of one */
  size_t row_blocks, column_blocks;
  size_t phase_width;      /* columns of the image that are `stride` apart lie side by side */
  atomic_int failed;
} plan_t;

/* A block: its places, and the rounded image [pairs][height][stride phases][phase_width] dwords below them. */
typedef struct {
  size_t y0, y1, x0, x1;
  size_t height, plane;
  uint32_t *image;
} block_t;

/* Neighbours among 16 places that lie in one row: lanes of a vector, and where their first one's window begins. */
typedef struct {
  __mmask16 mask;
  ptrdiff_t from; /* dwords from the beginning of a plane, less the first lane */
} run_t;

size_t convolution_packed_bytes(const convolution_t *c) {
  size_t pairs = ceil_div(c->in_channels, 2) * c->kernel_height * c->kernel_width;
  return ceil_div(c->out_channels, PANEL) * panel_bytes(2 * pairs, 1);
}

/* Round to nearest, ties to even; a NaN stays one. */
static uint16_t bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  if ((bits & 0x7f800000) == 0) return (uint16_t)(bits >> 16 & 0x8000); /* denormal: zero, as the units have it */
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void convolution_pack(const convolution_t *c, const float *weight, void *out) {
  size_t taps = c->kernel_height * c->kernel_width, pairs = ceil_div(c->in_channels, 2);
  size_t panel = panel_bytes(2 * pairs * taps, 1);
  memset(out, 0, convolution_packed_bytes(c));
  for (size_t o = 0; o < c->out_channels; o++) {
    char *row = (char *)out + o / PANEL * panel + o / LANES % 2 * BLOCK + o % LANES * 64;
    for (size_t i = 0; i < c->in_channels; i++) {
      for (size_t tap = 0; tap < taps; tap++) {
        size_t pair = tap * pairs + i / 2;
        uint16_t rounded = bf16(weight[(o * c->in_channels + i) * taps + tap]);
        memcpy(row + pair / LANES * 2 * BLOCK + pair % LANES * 4 + i % 2 * 2, &rounded, 2);
      }
    }
  }
}

/* Columns [0, width) of two channels, `b` null for none, rounded and side by side. */
TARGET512 static void round_row(const float *a, const float *b, size_t width, uint32_t *out) {
  static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  __m512i interleave = _mm512_loadu_si512(order);
  for (size_t x = 0; x < width; x += LANES) {
    __mmask16 mask = (__mmask16)(width - x >= LANES ? 0xffff : (1u << (width - x)) - 1);
    __m512 low = _mm512_maskz_loadu_ps(mask, a + x);
    __m512 high = b ? _mm512_maskz_loadu_ps(mask, b + x) : _mm512_setzero_ps();
    __m512i rounded = _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    _mm512_mask_storeu_epi32(out + x, mask, rounded);
  }
}

/* Columns first to last, of which `row` begins with the first, so that those that are `stride` apart are neighbours. */
TARGET512 static void spread(const uint32_t *row, size_t first, size_t last, size_t stride, size_t phase_width,
                             uint32_t *out) {
  size_t x = first;
  if (stride == 2) {
    __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    for (; x + 2 * LANES <= last; x += 2 * LANES) {
      __m512i low = _mm512_loadu_si512(row + x - first), high = _mm512_loadu_si512(row + x - first + LANES);
      _mm512_storeu_si512(out + x % 2 * phase_width + x / 2, _mm512_permutex2var_epi32(low, even, high));
      _mm512_storeu_si512(out + (x + 1) % 2 * phase_width + (x + 1) / 2, _mm512_permutex2var_epi32(low, odd, high));
    }
  }
  for (; x < last; x++) out[x % stride * phase_width + x / stride] = row[x - first];
}

/* The rows of `image` that the block's places see; `row` is room for one of its rows. */
static void round_image(const plan_t *p, const block_t *block, const float *image, uint32_t *row) {
  const convolution_t *c = p->c;
  size_t stride = c->stride, seen = (block->x1 - block->x0 - 1) * stride + (c->kernel_width - 1) * c->dilation + 1;
  ptrdiff_t left = (ptrdiff_t)(block->x0 * stride) - (ptrdiff_t)c->left; /* the image's column at the block's first */
  size_t from = left < 0 ? (size_t)-left : 0;                           /* of the block: the image's first */
  ptrdiff_t past = (ptrdiff_t)c->width - left;
  size_t to = past < 0 ? 0 : MIN(seen, (size_t)past);
  for (size_t pair = 0; pair < p->pairs; pair++) {
    const float *a = image + 2 * pair * c->height * c->width;
    const float *b = 2 * pair + 1 < c->in_channels ? a + c->height * c->width : 0;
    for (size_t y = 0; y < block->height; y++) {
      uint32_t *out = block->image + pair * block->plane + y * stride * p->phase_width;
      ptrdiff_t at = (ptrdiff_t)(block->y0 * stride + y) - (ptrdiff_t)c->top;
      int is_inside = at >= 0 && at < (ptrdiff_t)c->height && from < to;
      if (!is_inside) {
        memset(out, 0, stride * p->phase_width * sizeof *out);
        continue;
      }
      size_t offset = (size_t)at * c->width + (size_t)(left + (ptrdiff_t)from);
      if (stride == 1) {
        memset(out, 0, from * sizeof *out);
        round_row(a + offset, b ? b + offset : 0, to - from, out + from);
        memset(out + to, 0, (p->phase_width - to) * sizeof *out);
      } else {
        memset(out, 0, stride * p->phase_width * sizeof *out);
        round_row(a + offset, b ? b + offset : 0, to - from, row);
        spread(row, from, to, stride, p->phase_width, out);
      }
    }
  }
}

/* Places first to last of the block, as runs that lie in one row each; how many. */
static size_t find_runs(const plan_t *p, const block_t *block, size_t first, size_t last, run_t *runs) {
  size_t width = block->x1 - block->x0, count = 0;
  for (size_t place = first; place < last;) {
    size_t y = place / width, x = place % width, length = MIN(width - x, last - place), lane = place - first;
    runs[count].mask = (__mmask16)(((1u << length) - 1) << lane);
    runs[count].from = (ptrdiff_t)(y * p->c->stride * p->c->stride * p->phase_width + x) - (ptrdiff_t)lane;
    place += length;
    count++;
  }
  return count;
}

/* What the block's places see, into panels of columns. */
TARGET512 static void gather(const plan_t *p, const block_t *block, char *out) {
  const convolution_t *c = p->c;
  size_t places = (block->y1 - block->y0) * (block->x1 - block->x0), row = c->stride * p->phase_width;
  for (size_t first = 0; first < ceil_div(places, PANEL) * PANEL; first += LANES) {
    run_t runs[LANES];
    size_t count = first < places ? find_runs(p, block, first, MIN(places, first + LANES), runs) : 0;
    char *column = out + first / PANEL * p->steps * 2 * BLOCK + first / LANES % 2 * BLOCK;
    size_t k = 0; /* pairs so far */
    for (size_t tap = 0; tap < c->kernel_height * c->kernel_width; tap++) {
      size_t down = tap / c->kernel_width * c->dilation, right = tap % c->kernel_width * c->dilation;
      const uint32_t *window =
          block->image + down * row + right % c->stride * p->phase_width + right / c->stride;
      for (size_t pair = 0; pair < p->pairs; pair++, k++, window += block->plane) {
        __m512i seen = _mm512_setzero_si512();
        for (size_t i = 0; i < count; i++) seen = _mm512_mask_loadu_epi32(seen, runs[i].mask, window + runs[i].from);
        _mm512_store_si512(column + k / LANES * 2 * BLOCK + k % LANES * 64, seen);
      }
    }
    for (; k < p->steps * LANES; k++) memset(column + k / LANES * 2 * BLOCK + k % LANES * 64, 0, 64);
  }
}

static void convolve_task(void *context, size_t index) {
  plan_t *p = context;
  const convolution_t *c = p->c;
  size_t blocks = p->row_blocks * p->column_blocks, item = index / blocks;
  size_t row_block = index % blocks / p->column_blocks, column_block = index % p->column_blocks;
  block_t block = {.y0 = row_block * p->rows, .x0 = column_block * p->columns};
  block.y1 = MIN(c->out_height, block.y0 + p->rows);
  block.x1 = MIN(c->out_width, block.x0 + p->columns);
  block.height = (block.y1 - block.y0 - 1) * c->stride + (c->kernel_height - 1) * c->dilation + 1;
  block.plane = block.height * c->stride * p->phase_width;
  size_t places = (block.y1 - block.y0) * (block.x1 - block.x0);
  block.image = (uint32_t *)scratch(0, (p->pairs * block.plane + c->stride * p->phase_width) * sizeof *block.image);
  char *seen = scratch(1, ceil_div(places, PANEL) * p->steps * 2 * BLOCK);
  if (!block.image || !seen) {
    p->failed = 1;
    return;
  }
  round_image(p, &block, c->x + item * c->in_channels * c->height * c->width, block.image + p->pairs * block.plane);
  gather(p, &block, seen);
  size_t plane = c->out_height * c->out_width;
  gemm_t g = {.m = c->out_channels, .n = places, .k = p->steps * KSTEP, .ldc = plane, .alpha = 1, .parts = 1,
              .c = c->y + item * c->out_channels * plane + block.y0 * c->out_width + block.x0,
              .row_bias = c->bias, .act = c->act};
  multiply(&g, c->packed, seen, 0, c->out_channels, 0, places);
}

int convolution(const convolution_t *given, parallel_fn parallel, void *pool) {
  convolution_t flat = *given, *c = &flat;
  if (c->kernel_height == 1 && c->kernel_width == 1 && c->stride == 1 && c->out_height == c->height &&
      c->out_width == c->width) { /* places do not see each other: the image is one row */
    c->width = c->out_width = c->height * c->width;
    c->height = c->out_height = 1;
  }
  if (c->batch == 0 || c->out_channels == 0 || c->out_height == 0 || c->out_width == 0) return 0;
  plan_t p = {.c = c, .pairs = ceil_div(c->in_channels, 2)};
  p.steps = ceil_div(p.pairs * c->kernel_height * c->kernel_width, LANES);
  size_t fitting = BLOCK_OF_PLACES / (p.steps * 64) / PANEL * PANEL;
  size_t sharing = c->batch * c->out_height * c->out_width / TASKS / PANEL * PANEL; /* so that there are tasks enough */
  size_t places = MIN(fitting, sharing) < PANEL ? PANEL : MIN(fitting, sharing);
  size_t parts = ceil_div(c->out_width, places); /* of a row that is too long */
  p.rows = parts > 1 ? 1 : MIN(c->out_height, places / c->out_width);
  p.columns = parts > 1 ? ceil_div(ceil_div(c->out_width, parts), PANEL) * PANEL : c->out_width;
  p.row_blocks = ceil_div(c->out_height, p.rows);
  p.column_blocks = ceil_div(c->out_width, p.columns);
  p.phase_width = ceil_div((p.columns - 1) * c->stride + (c->kernel_width - 1) * c->dilation + 1, c->stride);
  parallel(pool, c->batch * p.row_blocks * p.column_blocks, convolve_task, &p);
  return p.failed ? -1 : 0;
}
