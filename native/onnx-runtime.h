/*
 * Of ONNX Runtime's C interface, what the operations here call. All its functions lie in one table (struct OrtApi of
 * onnxruntime_c_api.h), which is only ever appended to: a function has the same place in all later versions.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* The oldest version of the interface that has all of these. */
#define ORT_INTERFACE 17

typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;
typedef struct OrtTensorTypeAndShapeInfo OrtShape;
typedef struct OrtKernelInfo OrtKernelInfo;
typedef struct OrtKernelContext OrtKernelContext;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtCustomOpDomain OrtCustomOpDomain;
typedef void *const *OrtTable;

typedef struct {
  OrtTable (*GetApi)(uint32_t version);
  const char *(*GetVersionString)(void);
} OrtApiBase;

enum { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2 };

#define CALL(table, place, ...) ((OrtStatus * (*)(__VA_ARGS__))(table)[place])
#define CreateStatus(t) CALL(t, 0, int code, const char *message)
#define CreateCustomOpDomain(t) CALL(t, 26, const char *name, OrtCustomOpDomain **out)
#define CustomOpDomain_Add(t) CALL(t, 27, OrtCustomOpDomain *, const struct OrtCustomOp *)
#define AddCustomOpDomain(t) CALL(t, 28, OrtSessionOptions *, OrtCustomOpDomain *)
#define GetTensorMutableData(t) CALL(t, 51, OrtValue *, void **out)
#define GetDimensionsCount(t) CALL(t, 61, const OrtShape *, size_t *out)
#define GetDimensions(t) CALL(t, 62, const OrtShape *, int64_t *out, size_t count)
#define GetTensorTypeAndShape(t) CALL(t, 65, const OrtValue *, OrtShape **out)
#define KernelInfoGetAttribute_float(t) CALL(t, 85, const OrtKernelInfo *, const char *name, float *out)
#define KernelInfoGetAttribute_int64(t) CALL(t, 86, const OrtKernelInfo *, const char *name, int64_t *out)
#define KernelContext_GetInputCount(t) CALL(t, 88, const OrtKernelContext *, size_t *out)
#define KernelContext_GetInput(t) CALL(t, 90, const OrtKernelContext *, size_t index, const OrtValue **out)
#define KernelContext_GetOutput(t) \
  CALL(t, 91, OrtKernelContext *, size_t index, const int64_t *dims, size_t count, OrtValue **out)
#define ReleaseStatus(t) ((void (*)(OrtStatus *))(t)[93])
#define ReleaseTensorTypeAndShapeInfo(t) ((void (*)(OrtShape *))(t)[99])
/* Batches of 0: one task at a time. */
#define KernelContext_ParallelFor(t) \
  CALL(t, 274, const OrtKernelContext *, void (*task)(void *, size_t), size_t count, size_t batches, void *context)

/* struct OrtCustomOp up to the version that it names. */
struct OrtCustomOp {
  uint32_t version;
  void *(*CreateKernel)(const struct OrtCustomOp *, OrtTable, const OrtKernelInfo *);
  const char *(*GetName)(const struct OrtCustomOp *);
  const char *(*GetExecutionProviderType)(const struct OrtCustomOp *);
  int (*GetInputType)(const struct OrtCustomOp *, size_t);
  size_t (*GetInputTypeCount)(const struct OrtCustomOp *);
  int (*GetOutputType)(const struct OrtCustomOp *, size_t);
  size_t (*GetOutputTypeCount)(const struct OrtCustomOp *);
  void (*KernelCompute)(void *, OrtKernelContext *);
  void (*KernelDestroy)(void *);
  int (*GetInputCharacteristic)(const struct OrtCustomOp *, size_t);
  int (*GetOutputCharacteristic)(const struct OrtCustomOp *, size_t);
  int (*GetInputMemoryType)(const struct OrtCustomOp *, size_t);
  int (*GetVariadicInputMinArity)(const struct OrtCustomOp *);
  int (*GetVariadicInputHomogeneity)(const struct OrtCustomOp *);
  int (*GetVariadicOutputMinArity)(const struct OrtCustomOp *);
  int (*GetVariadicOutputHomogeneity)(const struct OrtCustomOp *);
  OrtStatus *(*CreateKernelV2)(const struct OrtCustomOp *, OrtTable, const OrtKernelInfo *, void **);
  OrtStatus *(*KernelComputeV2)(void *, OrtKernelContext *);
};
#define ORT_CUSTOM_OP_VERSION 16
#define ORT_FLOAT 1
enum { ORT_REQUIRED, ORT_OPTIONAL };
