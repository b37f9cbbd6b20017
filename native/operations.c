/* What the library offers: its operations, for ONNX Runtime, and how to pack constant operands of them ahead. */
#include "operations.h"
#include "convolution.h"
#include "host.h"

#define PUBLIC __attribute__((visibility("default")))

/* What ONNX Runtime calls when the library is registered with a session. */
PUBLIC OrtStatus *RegisterCustomOps(OrtSessionOptions *options, const OrtApiBase *base) {
  static const struct OrtCustomOp *const OPERATIONS[] = {&PRODUCT, &PACKED_PRODUCT, &ATTENTION, &CONVOLUTION,
                                                    &AVERAGE_POOL,  &GELU_GRADIENT, &GROUP_NORM};
  static OrtCustomOpDomain *domain;
  api = base->GetApi(ORT_INTERFACE);
  if (!api) return CreateStatus(base->GetApi(1))(ORT_FAIL, "native/ needs a newer ONNX Runtime"); /* its first function, in every version */
  if (!domain) {
    TRY(CreateCustomOpDomain(api)("repa", &domain));
    for (size_t i = 0; i < sizeof OPERATIONS / sizeof *OPERATIONS; i++) TRY(CustomOpDomain_Add(api)(domain, OPERATIONS[i]));
  }
  return AddCustomOpDomain(api)(options, domain);
}

/* Of the interface between these functions and operations and engine/onnx, which asks for it before all else. */
PUBLIC int repa_native_version(void) { return 2; }

/* The units that the products will use: enum gemm_level. */
PUBLIC int repa_product_units(void) { return gemm_level(); }

static void in_turn(void *pool, size_t count, task_fn task, void *context) {
  (void)pool;
  for (size_t i = 0; i < count; i++) task(context, i);
}

/* Pairs of bf16 of b [k, n] for repa.PackedProduct. */
PUBLIC size_t repa_packed_product_size(size_t n, size_t k, int parts) {
  return gemm_packed_bytes(n, k, parts) / PAIR;
}
/* b [k, n], or [n, k] if trans_b. */
PUBLIC void repa_pack_product(const float *b, size_t n, size_t k, int trans_b, int parts, void *out) {
  gemm_t g = {.n = n, .k = k, .b = b, .ldb = trans_b ? k : n, .trans_b = trans_b, .parts = parts};
  gemm_pack_b(&g, out, in_turn, 0);
}

static convolution_t kernel(size_t out_channels, size_t in_channels, size_t height, size_t width, int enlarged) {
  return (convolution_t){.out_channels = out_channels, .in_channels = in_channels,
                         .kernel_height = height, .kernel_width = width, .is_enlarged = enlarged};
}
/* Pairs of bf16 of weights [O, I, kh, kw] for repa.Convolution. */
PUBLIC size_t repa_packed_convolution_size(size_t out_channels, size_t in_channels, size_t height, size_t width,
                                           int enlarged) {
  convolution_t c = kernel(out_channels, in_channels, height, width, enlarged);
  return convolution_packed_bytes(&c) / PAIR;
}
PUBLIC void repa_pack_convolution(const float *weight, size_t out_channels, size_t in_channels, size_t height,
                                  size_t width, int enlarged, void *out) {
  convolution_t c = kernel(out_channels, in_channels, height, width, enlarged);
  convolution_pack(&c, weight, out);
}
