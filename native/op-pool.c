/*
 * repa.AveragePool: x f [B, C, H, W] -> f [B, C, h, w], means of windows in which padding counts as zeros or not at
 * all.
 */
#include "host.h"
#include "operations.h"
#include "pool.h"

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  pool_t p = {0};
  size_t count_padding;
  TRY(integer(info, "size", &p.size));
  TRY(integer(info, "stride", &p.stride));
  TRY(integer(info, "top", &p.top));
  TRY(integer(info, "left", &p.left));
  TRY(integer(info, "outHeight", &p.out_height));
  TRY(integer(info, "outWidth", &p.out_width));
  TRY(integer(info, "countPadding", &count_padding));
  p.count_padding = (int)count_padding;
  REFUSE_UNLESS(p.size > 0 && p.stride > 0, "AveragePool: a size or a stride is 0");
  return keep(&p, sizeof p, out);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  pool_t p = *(const pool_t *)kernel;
  tensor_t x;
  TRY(input(context, 0, &x));
  REFUSE_UNLESS(x.rank == 4, "AveragePool: images have four axes");
  p.planes = (size_t)(x.dims[0] * x.dims[1]);
  p.height = (size_t)x.dims[2];
  p.width = (size_t)x.dims[3];
  p.x = x.data;
  const int64_t dims[] = {x.dims[0], x.dims[1], (int64_t)p.out_height, (int64_t)p.out_width};
  TRY(output(context, 0, dims, 4, &p.y));
  return average_pool(&p, on_session_threads, context) ? out_of_memory() : 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "AveragePool"; }

const struct OrtCustomOp AVERAGE_POOL = OPERATION(name, host_one, host_float, host_required, host_one, create, compute);
