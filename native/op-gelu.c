/* repa.GeluGradient: x f [...], dy f [...] -> f [...] = gelu(x), f [...] = gelu'(x) dy. `act` is that of a product. */
#include "gelu.h"
#include "host.h"
#include "operations.h"

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  gelu_gradient_t g = {0};
  TRY(activation(info, &g.act));
  REFUSE_UNLESS(g.act == ACT_GELU_ERF || g.act == ACT_GELU_TANH, "GeluGradient: there is no such form");
  return keep(&g, sizeof g, out);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  gelu_gradient_t g = *(const gelu_gradient_t *)kernel;
  tensor_t x, dy;
  TRY(input(context, 0, &x));
  TRY(input(context, 1, &dy));
  g.count = 1;
  REFUSE_UNLESS(x.rank == dy.rank, "GeluGradient: shapes do not fit");
  for (size_t i = 0; i < x.rank; i++) {
    REFUSE_UNLESS(x.dims[i] == dy.dims[i], "GeluGradient: shapes do not fit");
    g.count *= (size_t)x.dims[i];
  }
  g.x = x.data;
  g.dy = dy.data;
  TRY(output(context, 0, x.dims, x.rank, &g.y));
  TRY(output(context, 1, x.dims, x.rank, &g.dx));
  gelu_gradient(&g, on_session_threads, context);
  return 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "GeluGradient"; }
static size_t two(const struct OrtCustomOp *op) { (void)op; return 2; }

const struct OrtCustomOp GELU_GRADIENT = OPERATION(name, two, host_float, host_required, two, create, compute);
