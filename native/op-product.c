/*
 * repa.Product: a f [..., m, k], b f [..., k, n] (each of them stored with its last two axes exchanged where transA,
 * transB say it; leading axes are the same, or one operand has none), bias f [n] for matrices -> f [..., m, n] =
 * act(alpha a b + bias).
 *
 * repa.PackedProduct: a f [..., k], b packed ahead of [k, n] (pairs of bf16 in the place of f), bias f [n] -> f [...,
 * n].
 *
 * `parts` says of how many bf16 an operand is the sum.
 */
#include "host.h"
#include "operations.h"

typedef struct {
  size_t trans_a, trans_b, parts;
  float alpha;
  enum gemm_act act;
  size_t n, k; /* of a packed operand */
} product_t;

static OrtStatus *common(const OrtKernelInfo *info, product_t *p) {
  TRY(integer(info, "parts", &p->parts));
  TRY(KernelInfoGetAttribute_float(api)(info, "alpha", &p->alpha));
  TRY(activation(info, &p->act));
  REFUSE_UNLESS(p->parts == 1 || p->parts == 2, "Product: parts are 1 or 2");
  return 0;
}

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  product_t p = {0};
  TRY(common(info, &p));
  TRY(integer(info, "transA", &p.trans_a));
  TRY(integer(info, "transB", &p.trans_b));
  return keep(&p, sizeof p, out);
}

static OrtStatus *create_packed(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  (void)table;
  product_t p = {0};
  TRY(common(info, &p));
  TRY(integer(info, "n", &p.n));
  TRY(integer(info, "k", &p.k));
  return keep(&p, sizeof p, out);
}

/* How many there are of what has the last `own` axes. */
static size_t leading(const tensor_t *t, size_t own) {
  size_t count = 1;
  for (size_t i = 0; i + own < t->rank; i++) count *= (size_t)t->dims[i];
  return count;
}

static const char *UNFIT = "Product: the operands' shapes do not fit";

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  const product_t *p = kernel;
  tensor_t a, b, bias;
  TRY(input(context, 0, &a));
  TRY(input(context, 1, &b));
  TRY(input(context, 2, &bias));
  REFUSE_UNLESS(a.rank >= 2 && b.rank >= 2, "Product: operands have two axes or more");
  const int64_t *da = a.dims + a.rank - 2, *db = b.dims + b.rank - 2;
  int64_t m = da[p->trans_a ? 1 : 0], k = da[p->trans_a ? 0 : 1], n = db[p->trans_b ? 0 : 1];
  REFUSE_UNLESS(db[p->trans_b ? 1 : 0] == k, UNFIT);
  REFUSE_UNLESS(!bias.data || (bias.rank == 1 && bias.dims[0] == n), UNFIT);
  size_t count_a = leading(&a, 2), count_b = leading(&b, 2);
  tensor_t *larger = count_a > count_b || (count_a == count_b && a.rank >= b.rank) ? &a : &b;
  size_t items = leading(larger, 2);
  REFUSE_UNLESS((count_a == items || count_a == 1) && (count_b == items || count_b == 1), UNFIT);
  gemm_t g = {.m = (size_t)m, .n = (size_t)n, .k = (size_t)k, .a = a.data, .lda = (size_t)da[1],
              .trans_a = (int)p->trans_a, .b = b.data, .ldb = (size_t)db[1], .trans_b = (int)p->trans_b,
              .ldc = (size_t)n, .alpha = p->alpha, .bias = bias.data, .act = p->act, .parts = (int)p->parts};
  int64_t dims[RANK];
  for (size_t i = 0; i < larger->rank; i++) dims[i] = larger->dims[i];
  dims[larger->rank - 2] = m;
  dims[larger->rank - 1] = n;
  TRY(output(context, 0, dims, larger->rank, &g.c));
  size_t stride_a = count_a == 1 ? 0 : g.m * g.k, stride_b = count_b == 1 ? 0 : g.k * g.n;
  int failed = items == 1 ? gemm(&g, on_session_threads, context)
                          : gemm_batch(&g, items, stride_a, stride_b, g.m * g.n, on_session_threads, context);
  return failed ? out_of_memory() : 0;
}

static OrtStatus *compute_packed(void *kernel, OrtKernelContext *context) {
  const product_t *p = kernel;
  tensor_t a, b, bias;
  TRY(input(context, 0, &a));
  TRY(input(context, 1, &b));
  TRY(input(context, 2, &bias));
  REFUSE_UNLESS(a.rank >= 1 && a.dims[a.rank - 1] == (int64_t)p->k, UNFIT);
  REFUSE_UNLESS(b.rank == 1 && (size_t)b.dims[0] * PAIR == gemm_packed_bytes(p->n, p->k, (int)p->parts), UNFIT);
  REFUSE_UNLESS(!bias.data || (bias.rank == 1 && bias.dims[0] == (int64_t)p->n), UNFIT);
  gemm_t g = {.m = leading(&a, 1), .n = p->n, .k = p->k, .a = a.data, .lda = p->k, .packed_b = b.data, .ldc = p->n,
              .alpha = p->alpha, .bias = bias.data, .act = p->act, .parts = (int)p->parts};
  a.dims[a.rank - 1] = (int64_t)p->n;
  TRY(output(context, 0, a.dims, a.rank, &g.c));
  return gemm(&g, on_session_threads, context) ? out_of_memory() : 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "Product"; }
static const char *packed_name(const struct OrtCustomOp *op) { (void)op; return "PackedProduct"; }
static size_t three(const struct OrtCustomOp *op) { (void)op; return 3; }
static int presence(const struct OrtCustomOp *op, size_t i) { (void)op; return i < 2 ? ORT_REQUIRED : ORT_OPTIONAL; }

const struct OrtCustomOp PRODUCT = OPERATION(name, three, host_float, presence, host_one, create, compute);
const struct OrtCustomOp PACKED_PRODUCT =
    OPERATION(packed_name, three, host_float, presence, host_one, create_packed, compute_packed);
