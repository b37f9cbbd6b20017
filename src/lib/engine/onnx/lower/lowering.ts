/** In what the ONNX of one execution provider differs from that of another. */
export interface Lowering {
  /** Whether attention is one node, or products with a softmax between them. */
  readonly attention: 'fused' | 'composed';
  /** Whether LayerNormalization gives its statistics, as the standard has it. */
  readonly layerNormStatistics: boolean;
  /** Whether products of more than two axes transpose and scale on the way (FusedMatMul of com.microsoft). */
  readonly fusedProduct: boolean;
  /** Whether a sum of many values is one node. */
  readonly sum: boolean;
  /** Whether rows are summed where an index says by ScatterND, or by a product with a mask. */
  readonly scatter: boolean;
  /** Whether Round, Sign, Or, IsNaN, IsInf, ArgMax, ArgMin and TopK have kernels, or are composed of what has. */
  readonly complete: boolean;
  /** The element type of the operands of products; results and all else are float32. */
  readonly products: 'float32' | 'float16';
}

/** ONNX Runtime's own kernels for the processor. */
export const CPU_LOWERING: Lowering = {
  attention: 'fused',
  layerNormStatistics: true,
  fusedProduct: true,
  sum: true,
  scatter: true,
  complete: true,
  products: 'float32',
};

/**
 * The WebGPU provider (ONNX Runtime 1.30): its MultiHeadAttention computes wrong values on Vulkan, its LayerNormalization
 * has no statistics, FusedMatMul, Sum and some others have no kernel there, and ScatterND adds to what an earlier run
 * left.
 */
export const WEBGPU_LOWERING: Lowering = {
  attention: 'composed',
  layerNormStatistics: false,
  fusedProduct: false,
  sum: false,
  scatter: false,
  complete: false,
  products: 'float32',
};
