/* What the operations have in common in ONNX Runtime's terms: tensors, attributes, errors, threads. */
#pragma once
#include "gemm.h"
#include "onnx-runtime.h"
#include "units.h"

#define TRY(call)                          \
  do {                                     \
    OrtStatus *problem = (call);           \
    if (problem) return problem;           \
  } while (0)
#define REFUSE_UNLESS(condition, message) \
  do {                                    \
    if (!(condition)) return refusal(message); \
  } while (0)

#define RANK 8
typedef struct {
  void *data; /* null for an input that is left out */
  size_t rank;
  int64_t dims[RANK];
} tensor_t;

/* The interface of the ONNX Runtime that registered the operations. */
extern OrtTable api;

OrtStatus *refusal(const char *message);
OrtStatus *out_of_memory(void);

OrtStatus *input(OrtKernelContext *context, size_t index, tensor_t *out);
size_t count_of(const tensor_t *t);
OrtStatus *output(OrtKernelContext *context, size_t index, const int64_t *dims, size_t rank, float **data);
OrtStatus *integer(const OrtKernelInfo *info, const char *name, size_t *out);
/* As the attribute `act` names it: enum gemm_act. */
OrtStatus *activation(const OrtKernelInfo *info, enum gemm_act *out);
/* Keeps what describes a kernel for its life. */
OrtStatus *keep(const void *description, size_t size, void **kernel);

/* parallel_fn, on the threads of the session; `context` is the run's. */
void on_session_threads(void *context, size_t count, task_fn task, void *task_context);

/* An operation; its functions tell element types, and whether inputs may be left out. */
#define OPERATION(title, inputs, type_of_input, presence_of_input, outputs, create, compute)                   \
  {.version = ORT_CUSTOM_OP_VERSION, .GetName = title, .GetExecutionProviderType = host_provider,            \
   .GetInputType = type_of_input, .GetInputTypeCount = inputs, .GetOutputType = host_float,                  \
   .GetOutputTypeCount = outputs, .KernelDestroy = host_destroy, .GetInputCharacteristic = presence_of_input, \
   .GetOutputCharacteristic = host_required, .GetInputMemoryType = host_memory,                              \
   .GetVariadicInputMinArity = host_arity, .GetVariadicInputHomogeneity = host_homogeneous,                  \
   .GetVariadicOutputMinArity = host_arity, .GetVariadicOutputHomogeneity = host_homogeneous,                \
   .CreateKernelV2 = create, .KernelComputeV2 = compute}

const char *host_provider(const struct OrtCustomOp *op);
int host_float(const struct OrtCustomOp *op, size_t index);
size_t host_one(const struct OrtCustomOp *op);
int host_required(const struct OrtCustomOp *op, size_t index);
int host_memory(const struct OrtCustomOp *op, size_t index);
int host_arity(const struct OrtCustomOp *op);
int host_homogeneous(const struct OrtCustomOp *op);
void host_destroy(void *kernel);
