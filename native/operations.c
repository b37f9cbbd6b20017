/*
 * The products as an operation of ONNX Runtime, on the threads of its session.
 *
 * repa.Product: a f [..., m, k], b f [..., k, n] (each of them stored with its last two axes exchanged where transA, transB
 * say it; leading axes are the same, or one operand has none), bias f [n] for matrices -> f [..., m, n] = alpha a b + bias.
 * `parts` says of how many bf16 an operand is the sum.
 */
#include "gemm.h"
#include "onnx-runtime.h"
#include <stdlib.h>

#define PUBLIC __attribute__((visibility("default")))
#define RANK 8
#define TRY(call)                          \
  do {                                     \
    OrtStatus *problem = (call);           \
    if (problem) return problem;           \
  } while (0)

static OrtTable api;

typedef struct {
  int64_t trans_a, trans_b, parts;
  float alpha;
} product_t;

static OrtStatus *create(const struct OrtCustomOp *op, OrtTable table, const OrtKernelInfo *info, void **out) {
  (void)op;
  product_t p;
  TRY(KernelInfoGetAttribute_int64(table)(info, "transA", &p.trans_a));
  TRY(KernelInfoGetAttribute_int64(table)(info, "transB", &p.trans_b));
  TRY(KernelInfoGetAttribute_int64(table)(info, "parts", &p.parts));
  TRY(KernelInfoGetAttribute_float(table)(info, "alpha", &p.alpha));
  if (p.parts != 1 && p.parts != 2) return CreateStatus(table)(ORT_INVALID_ARGUMENT, "Product: parts are 1 or 2");
  product_t *kept = malloc(sizeof *kept);
  if (!kept) return CreateStatus(table)(ORT_FAIL, "Product: out of memory");
  *kept = p;
  *out = kept;
  return 0;
}
static void destroy(void *kernel) { free(kernel); }

typedef struct {
  float *data;
  size_t rank;
  int64_t dims[RANK];
} tensor_t;

static OrtStatus *shape_of(const OrtShape *shape, tensor_t *out) {
  TRY(GetDimensionsCount(api)(shape, &out->rank));
  if (out->rank > RANK) return CreateStatus(api)(ORT_INVALID_ARGUMENT, "Product: more than 8 axes");
  return GetDimensions(api)(shape, out->dims, out->rank);
}

static OrtStatus *input(OrtKernelContext *context, size_t index, tensor_t *out) {
  const OrtValue *value;
  OrtShape *shape;
  TRY(KernelContext_GetInput(api)(context, index, &value));
  TRY(GetTensorMutableData(api)((OrtValue *)value, (void **)&out->data));
  TRY(GetTensorTypeAndShape(api)(value, &shape));
  OrtStatus *problem = shape_of(shape, out);
  ReleaseTensorTypeAndShapeInfo(api)(shape);
  return problem;
}

/* How many matrices there are. */
static size_t leading(const tensor_t *t) {
  size_t count = 1;
  for (size_t i = 0; i + 2 < t->rank; i++) count *= (size_t)t->dims[i];
  return count;
}

static void parallel(void *pool, size_t count, task_fn task, void *context) {
  OrtStatus *problem = KernelContext_ParallelFor(api)(pool, task, count, 0, context);
  if (!problem) return;
  ((void (*)(OrtStatus *))api[93])(problem); /* ReleaseStatus; no task has run */
  for (size_t i = 0; i < count; i++) task(context, i);
}

static OrtStatus *compute(void *kernel, OrtKernelContext *context) {
  const product_t *p = kernel;
  tensor_t a, b, bias = {0};
  size_t inputs;
  OrtValue *output;
  TRY(KernelContext_GetInputCount(api)(context, &inputs));
  TRY(input(context, 0, &a));
  TRY(input(context, 1, &b));
  if (inputs > 2) TRY(input(context, 2, &bias));
  if (a.rank < 2 || b.rank < 2) return CreateStatus(api)(ORT_INVALID_ARGUMENT, "Product: operands have two axes or more");
  const int64_t *da = a.dims + a.rank - 2, *db = b.dims + b.rank - 2;
  int64_t m = da[p->trans_a ? 1 : 0], k = da[p->trans_a ? 0 : 1], n = db[p->trans_b ? 0 : 1];
  const char *shapes = "Product: the operands' shapes do not fit";
  if (db[p->trans_b ? 1 : 0] != k) return CreateStatus(api)(ORT_INVALID_ARGUMENT, shapes);
  if (inputs > 2 && (bias.rank != 1 || bias.dims[0] != n)) return CreateStatus(api)(ORT_INVALID_ARGUMENT, shapes);
  size_t count_a = leading(&a), count_b = leading(&b);
  tensor_t *larger = count_a > count_b || (count_a == count_b && a.rank >= b.rank) ? &a : &b;
  size_t items = leading(larger);
  if ((count_a != items && count_a != 1) || (count_b != items && count_b != 1))
    return CreateStatus(api)(ORT_INVALID_ARGUMENT, shapes);
  gemm_t g = {.m = (size_t)m, .n = (size_t)n, .k = (size_t)k, .a = a.data, .lda = (size_t)da[1],
              .trans_a = (int)p->trans_a, .b = b.data, .ldb = (size_t)db[1], .trans_b = (int)p->trans_b,
              .ldc = (size_t)n, .alpha = p->alpha, .bias = bias.data, .parts = (int)p->parts};
  int64_t dims[RANK];
  for (size_t i = 0; i < larger->rank; i++) dims[i] = larger->dims[i];
  dims[larger->rank - 2] = m;
  dims[larger->rank - 1] = n;
  TRY(KernelContext_GetOutput(api)(context, 0, dims, larger->rank, &output));
  TRY(GetTensorMutableData(api)(output, (void **)&g.c));
  size_t stride_a = count_a == 1 ? 0 : g.m * g.k, stride_b = count_b == 1 ? 0 : g.k * g.n;
  int failed = items == 1 ? gemm(&g, parallel, context)
                          : gemm_batch(&g, items, stride_a, stride_b, g.m * g.n, parallel, context);
  return failed ? CreateStatus(api)(ORT_FAIL, "Product: out of memory") : 0;
}

static const char *name(const struct OrtCustomOp *op) { (void)op; return "Product"; }
static const char *provider(const struct OrtCustomOp *op) { (void)op; return 0; }
static int type(const struct OrtCustomOp *op, size_t i) { (void)op; (void)i; return ORT_FLOAT; }
static size_t three(const struct OrtCustomOp *op) { (void)op; return 3; }
static size_t one(const struct OrtCustomOp *op) { (void)op; return 1; }
static int presence(const struct OrtCustomOp *op, size_t i) { (void)op; return i < 2 ? ORT_REQUIRED : ORT_OPTIONAL; }
static int required(const struct OrtCustomOp *op, size_t i) { (void)op; (void)i; return ORT_REQUIRED; }
static int memory_type(const struct OrtCustomOp *op, size_t i) { (void)op; (void)i; return 0; }
static int arity(const struct OrtCustomOp *op) { (void)op; return 0; }
static int homogeneous(const struct OrtCustomOp *op) { (void)op; return 1; }

static const struct OrtCustomOp PRODUCT = {
    .version = ORT_CUSTOM_OP_VERSION, .GetName = name, .GetExecutionProviderType = provider, .GetInputType = type,
    .GetInputTypeCount = three, .GetOutputType = type, .GetOutputTypeCount = one, .KernelDestroy = destroy,
    .GetInputCharacteristic = presence, .GetOutputCharacteristic = required, .GetInputMemoryType = memory_type,
    .GetVariadicInputMinArity = arity, .GetVariadicInputHomogeneity = homogeneous,
    .GetVariadicOutputMinArity = arity, .GetVariadicOutputHomogeneity = homogeneous,
    .CreateKernelV2 = create, .KernelComputeV2 = compute};

/* What ONNX Runtime calls when the library is registered with a session. */
PUBLIC OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
  static OrtCustomOpDomain *domain;
  api = base->GetApi(ORT_INTERFACE);
  if (!domain) {
    TRY(CreateCustomOpDomain(api)("repa", &domain));
    TRY(CustomOpDomain_Add(api)(domain, &PRODUCT));
  }
  return AddCustomOpDomain(api)(options, domain);
}

/* The units that the products will use: enum gemm_level. */
PUBLIC int repa_product_units(void) { return gemm_level(); }
