/*
 * repa.Attention: q f [B, N, H, d], k f [B, M, H, d], v f [B, M, H, d] -> f [B, N, H, d] = softmax(scale q k^T) v of
 * each head H, of operands rounded to bf16.
 */
#include "host.h"
#include "operations.h"

typedef struct {
  float scale;
} description_t;

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  description_t d;
  TRY(KernelInfoGetAttribute_float(api)(info, "scale", &d.scale));
  return keep(&d, sizeof d, out);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  const description_t *d = kernel;
  tensor_t q, k, v;
  TRY(input(context, 0, &q));
  TRY(input(context, 1, &k));
  TRY(input(context, 2, &v));
  REFUSE_UNLESS(q.rank == 4 && k.rank == 4 && v.rank == 4 && k.dims[1] > 0, "Attention: operands have four axes");
  for (size_t i = 0; i < 4; i++)
    REFUSE_UNLESS(k.dims[i] == v.dims[i] && (i == 1 || q.dims[i] == k.dims[i]), "Attention: shapes do not fit");
  attention_t t = {.batch = (size_t)q.dims[0], .queries = (size_t)q.dims[1], .keys = (size_t)k.dims[1],
                   .heads = (size_t)q.dims[2], .depth = (size_t)q.dims[3], .q = q.data, .k = k.data, .v = v.data,
                   .scale = d->scale};
  TRY(output(context, 0, q.dims, 4, &t.y));
  return attention(&t, on_session_threads, context) ? out_of_memory() : 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "Attention"; }
static size_t three(const struct OrtCustomOp *op) { (void)op; return 3; }

const struct OrtCustomOp ATTENTION = OPERATION(name, three, host_float, host_required, host_one, create, compute);
