#pragma once
#include "onnx-runtime.h"

/* The operations of the domain `repa`. */
extern const struct OrtCustomOp PRODUCT, PACKED_PRODUCT, ATTENTION, CONVOLUTION, AVERAGE_POOL, GELU_GRADIENT, GROUP_NORM;
