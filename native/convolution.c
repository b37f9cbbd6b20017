/*
 * Convolutions of images as products: the weights [O, taps, I] times what each output sees of the image [taps, I,
 * places].
 *
 * A task has a block of the places of an image. It rounds the rows that these see to bf16, channels in pairs and with
 * the padding around them; each tap of a kernel then is a window into that, copied into the order in which the kernels
 * read.
 */
#include "convolution.h"
#include "gemm.h"
#include "kernels.h"
#include "pair.h"
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
  size_t kernel_height, kernel_width; /* of what is computed */
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

/* Rows or columns of what is computed: of an enlarged image's, pixels of the image. */
static size_t taps_along(const convolution_t *c, size_t kernel) { return c->is_enlarged ? 2 : kernel; }

/* Of the weights that outputs of one parity of row and column have; those of a plain convolution all have the same. */
static size_t parity_bytes(const convolution_t *c) {
  size_t taps = taps_along(c, c->kernel_height) * taps_along(c, c->kernel_width);
  return ceil_div(c->out_channels, PANEL) * panel_bytes(2 * ceil_div(c->in_channels, 2) * taps, 1);
}

size_t convolution_packed_bytes(const convolution_t *c) { return parity_bytes(c) * (c->is_enlarged ? 4 : 1); }

/* Round to nearest, ties to even; a NaN stays one. */
static uint16_t bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  if ((bits & 0x7f800000) == 0) return (uint16_t)(bits >> 16 & 0x8000); /* denormal: zero, as the units have it */
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* What falls on pixel (tap / 2, tap % 2) of those that an output of this parity sees: w is 3 x 3. */
static float sum_of_taps(const float *w, size_t down, size_t right, size_t tap) {
  float sum = 0;
  for (size_t y = 0; y < 3; y++)
    for (size_t x = 0; x < 3; x++)
      if ((y > down) == tap / 2 && (x > right) == tap % 2) sum += w[3 * y + x];
  return sum;
}

void convolution_pack(const convolution_t *c, const float *weight, void *out) {
  size_t all = c->kernel_height * c->kernel_width, pairs = ceil_div(c->in_channels, 2);
  size_t taps = taps_along(c, c->kernel_height) * taps_along(c, c->kernel_width), panel = panel_bytes(2 * pairs * taps, 1);
  memset(out, 0, convolution_packed_bytes(c));
  for (size_t parity = 0; parity < (c->is_enlarged ? 4 : 1); parity++) {
    for (size_t o = 0; o < c->out_channels; o++) {
      char *row = (char *)out + parity * parity_bytes(c) + o / PANEL * panel + o / LANES % 2 * BLOCK + o % LANES * 64;
      for (size_t i = 0; i < c->in_channels; i++) {
        const float *w = weight + (o * c->in_channels + i) * all;
        for (size_t tap = 0; tap < taps; tap++) {
          size_t pair = tap * pairs + i / 2;
          uint16_t rounded = bf16(c->is_enlarged ? sum_of_taps(w, parity / 2, parity % 2, tap) : w[tap]);
          memcpy(row + pair / LANES * 2 * BLOCK + pair % LANES * 4 + i % 2 * 2, &rounded, 2);
        }
      }
    }
  }
}

/* Columns [0, width) of two channels, `b` null for none, rounded and side by side. */
TARGET512 static void round_row(const float *a, const float *b, size_t width, uint32_t *out) {
  for (size_t x = 0; x < width; x += LANES) {
    __mmask16 mask = lanes(width - x);
    __m512 high = b ? _mm512_maskz_loadu_ps(mask, b + x) : _mm512_setzero_ps();
    _mm512_mask_storeu_epi32(out + x, mask, pair16(_mm512_maskz_loadu_ps(mask, a + x), high));
  }
}

/* `width` places of a pair of channels of an image, from a place on, rounded if they are not yet. */
static void take_row(const convolution_t *c, size_t item, size_t pair, size_t from, size_t width, uint32_t *out) {
  size_t plane = c->height * c->width;
  if (c->pairs) {
    memcpy(out, c->pairs + (item * c->in_channels / 2 + pair) * plane + from, width * sizeof *out);
    return;
  }
  const float *a = c->x + (item * c->in_channels + 2 * pair) * plane + from;
  round_row(a, 2 * pair + 1 < c->in_channels ? a + plane : 0, width, out);
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

/* The rows of an image that the block's places see; `row` is room for one of them. */
static void round_image(const plan_t *p, const block_t *block, size_t item, uint32_t *row) {
  const convolution_t *c = p->c;
  size_t stride = c->stride, seen = (block->x1 - block->x0 - 1) * stride + (c->kernel_width - 1) * c->dilation + 1;
  ptrdiff_t left = (ptrdiff_t)(block->x0 * stride) - (ptrdiff_t)c->left; /* the image's column at the block's first */
  size_t from = left < 0 ? (size_t)-left : 0;                           /* of the block: the image's first */
  ptrdiff_t past = (ptrdiff_t)c->width - left;
  size_t to = past < 0 ? 0 : MIN(seen, (size_t)past);
  for (size_t pair = 0; pair < p->pairs; pair++) {
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
        take_row(c, item, pair, offset, to - from, out + from);
        memset(out + to, 0, (p->phase_width - to) * sizeof *out);
      } else {
        memset(out, 0, stride * p->phase_width * sizeof *out);
        take_row(c, item, pair, offset, to - from, row);
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

/* What the block's places see by a kernel whose first tap is (top, left), into panels of columns. */
TARGET512 static void gather(const plan_t *p, const block_t *block, size_t top, size_t left, char *out) {
  const convolution_t *c = p->c;
  size_t places = (block->y1 - block->y0) * (block->x1 - block->x0), row = c->stride * p->phase_width;
  for (size_t first = 0; first < ceil_div(places, PANEL) * PANEL; first += LANES) {
    run_t runs[LANES];
    size_t count = first < places ? find_runs(p, block, first, MIN(places, first + LANES), runs) : 0;
    char *column = out + first / PANEL * p->steps * 2 * BLOCK + first / LANES % 2 * BLOCK;
    size_t k = 0; /* pairs so far */
    for (size_t tap = 0; tap < p->kernel_height * p->kernel_width; tap++) {
      size_t down = (top + tap / p->kernel_width) * c->dilation, right = (left + tap % p->kernel_width) * c->dilation;
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

/* Columns of even and of odd x, side by side. */
TARGET512 static void interleave(const float *even, const float *odd, size_t count, float *out) {
  __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  for (size_t x = 0; x < count; x += LANES) {
    __mmask16 mask = lanes(count - x);
    __m512 a = _mm512_maskz_loadu_ps(mask, even + x), b = _mm512_maskz_loadu_ps(mask, odd + x);
    _mm512_mask_storeu_ps(out + 2 * x, lanes(2 * (count - x)), _mm512_permutex2var_ps(a, low, b));
    if (count - x > 8) _mm512_mask_storeu_ps(out + 2 * x + 16, lanes(2 * (count - x) - 16), _mm512_permutex2var_ps(a, high, b));
  }
}

/* The outputs of an enlarged image whose places are the block's, four of each. */
static int convolve_enlarged(const plan_t *p, const block_t *block, size_t item, char *seen) {
  const convolution_t *c = p->c;
  size_t width = block->x1 - block->x0, places = (block->y1 - block->y0) * width, row = 2 * c->out_width;
  gemm_t g = {.m = c->out_channels, .n = places, .k = p->steps * KSTEP, .ldc = places, .alpha = 1, .parts = 1,
              .row_bias = c->bias, .act = c->act};
  float *sums = (float *)scratch(2, 2 * c->out_channels * places * sizeof *sums), *odd = sums + c->out_channels * places;
  if (!sums) return -1;
  for (size_t down = 0; down < 2; down++) {
    for (size_t right = 0; right < 2; right++) {
      gather(p, block, down, right, seen);
      g.c = right ? odd : sums;
      multiply(&g, (const char *)c->packed + (2 * down + right) * parity_bytes(c), seen, 0, g.m, 0, places);
    }
    for (size_t o = 0; o < c->out_channels; o++) {
      float *out = c->y + (item * c->out_channels + o) * 2 * c->out_height * row + 2 * block->x0;
      for (size_t y = block->y0; y < block->y1; y++) {
        size_t at = o * places + (y - block->y0) * width;
        interleave(sums + at, odd + at, width, out + (2 * y + down) * row);
      }
    }
  }
  return 0;
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
  round_image(p, &block, item, block.image + p->pairs * block.plane);
  if (c->is_enlarged) {
    if (convolve_enlarged(p, &block, item, seen) != 0) p->failed = 1;
    return;
  }
  gather(p, &block, 0, 0, seen);
  size_t plane = c->out_height * c->out_width;
  size_t first = item * c->out_channels * plane + block.y0 * c->out_width + block.x0;
  gemm_t g = {.m = c->out_channels, .n = places, .k = p->steps * KSTEP, .ldc = plane, .alpha = 1, .parts = 1,
              .c = c->y + first, .row_bias = c->bias, .act = c->act,
              .residual = c->residual ? c->residual + first : 0};
  multiply(&g, c->packed, seen, 0, c->out_channels, 0, places);
}

int convolution(const convolution_t *given, parallel_fn parallel, void *pool) {
  convolution_t flat = *given, *c = &flat;
  if (c->kernel_height == 1 && c->kernel_width == 1 && c->stride == 1 && c->out_height == c->height &&
      c->out_width == c->width) { /* places do not see each other: the image is one row */
    c->width = c->out_width = c->height * c->width;
    c->height = c->out_height = 1;
  }
  if (c->is_enlarged) { /* what is divided into blocks is the image itself */
    c->out_height = c->height;
    c->out_width = c->width;
  }
  if (c->batch == 0 || c->out_channels == 0 || c->out_height == 0 || c->out_width == 0) return 0;
  plan_t p = {.c = c, .pairs = ceil_div(c->in_channels, 2), .kernel_height = taps_along(c, c->kernel_height),
              .kernel_width = taps_along(c, c->kernel_width)};
  p.steps = ceil_div(p.pairs * p.kernel_height * p.kernel_width, LANES);
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
