/* What the operations have in common in ONNX Runtime's terms. */
#include "host.h"
#include <stdlib.h>
#include <string.h>

OrtTable api;

OrtStatus *refusal(const char *message) { return CreateStatus(api)(ORT_INVALID_ARGUMENT, message); }

OrtStatus *out_of_memory(void) { return CreateStatus(api)(ORT_FAIL, "out of memory"); }

static OrtStatus *shape_of(const OrtShape *shape, tensor_t *out) {
  TRY(GetDimensionsCount(api)(shape, &out->rank));
  REFUSE_UNLESS(out->rank <= RANK, "more than 8 axes");
  return GetDimensions(api)(shape, out->dims, out->rank);
}

OrtStatus *input(OrtKernelContext *context, size_t index, tensor_t *out) {
  size_t count;
  const OrtValue *value = 0;
  OrtShape *shape;
  memset(out, 0, sizeof *out);
  TRY(KernelContext_GetInputCount(api)(context, &count));
  if (index < count) TRY(KernelContext_GetInput(api)(context, index, &value));
  if (!value) return 0;
  TRY(GetTensorMutableData(api)((OrtValue *)value, &out->data));
  TRY(GetTensorTypeAndShape(api)(value, &shape));
  OrtStatus *problem = shape_of(shape, out);
  ReleaseTensorTypeAndShapeInfo(api)(shape);
  return problem;
}

size_t count_of(const tensor_t *t) {
  size_t count = 1;
  for (size_t i = 0; i < t->rank; i++) count *= (size_t)t->dims[i];
  return count;
}

OrtStatus *output(OrtKernelContext *context, size_t index, const int64_t *dims, size_t rank, float **data) {
  OrtValue *value;
  TRY(KernelContext_GetOutput(api)(context, index, dims, rank, &value));
  return GetTensorMutableData(api)(value, (void **)data);
}

OrtStatus *integer(const OrtKernelInfo *info, const char *name, size_t *out) {
  int64_t value;
  TRY(KernelInfoGetAttribute_int64(api)(info, name, &value));
  REFUSE_UNLESS(value >= 0, "an attribute is negative");
  *out = (size_t)value;
  return 0;
}

OrtStatus *activation(const OrtKernelInfo *info, enum gemm_act *out) {
  size_t act;
  TRY(integer(info, "act", &act));
  REFUSE_UNLESS(act <= ACT_RELU, "there is no such activation");
  *out = (enum gemm_act)act;
  return 0;
}

OrtStatus *keep(const void *description, size_t size, void **kernel) {
  *kernel = malloc(size);
  if (!*kernel) return out_of_memory();
  memcpy(*kernel, description, size);
  return 0;
}

void on_session_threads(void *context, size_t count, task_fn task, void *task_context) {
  OrtStatus *problem = KernelContext_ParallelFor(api)(context, task, count, 0, task_context);
  if (!problem) return;
  ReleaseStatus(api)(problem); /* no task has run */
  for (size_t i = 0; i < count; i++) task(task_context, i);
}

const char *host_provider(const struct OrtCustomOp *op) { (void)op; return 0; }
int host_float(const struct OrtCustomOp *op, size_t index) { (void)op; (void)index; return ORT_FLOAT; }
size_t host_one(const struct OrtCustomOp *op) { (void)op; return 1; }
int host_required(const struct OrtCustomOp *op, size_t index) { (void)op; (void)index; return ORT_REQUIRED; }
int host_memory(const struct OrtCustomOp *op, size_t index) { (void)op; (void)index; return 0; }
int host_arity(const struct OrtCustomOp *op) { (void)op; return 0; }
int host_homogeneous(const struct OrtCustomOp *op) { (void)op; return 1; }
void host_destroy(void *kernel) { free(kernel); }
