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
  /**
   * The largest tensor, in bytes, of Softmax, LayerNormalization, Pad and Conv: of larger ones they are composed of
   * others.
   */
  readonly bindingBytes: number;
  /** Whether Round, Sign, Or, IsNaN, IsInf, ArgMax, ArgMin and TopK have kernels, or are composed of what has. */
  readonly complete: boolean;
  /** The element type of the operands of products; results and all else are float32. */
  readonly products: 'float32' | 'float16';
  /** Products by units for bf16 (native/): of how many bf16 an operand is the sum. 0: ONNX Runtime's own products. */
  readonly bf16Parts: 0 | 1 | 2;
}

/** ONNX Runtime's own kernels for the processor. */
export const CPU_LOWERING: Lowering = {
  attention: 'fused',
  layerNormStatistics: true,
  fusedProduct: true,
  sum: true,
  scatter: true,
  bindingBytes: Number.POSITIVE_INFINITY,
  complete: true,
  products: 'float32',
  bf16Parts: 0,
};

/** The same with operands of products rounded to bf16, or to the sum of two bf16. */
export const processorLowering = (precision: 'f32' | 'f32x2' | 'bf16'): Lowering => ({
  ...CPU_LOWERING,
  bf16Parts: ({ f32: 0, f32x2: 2, bf16: 1 } as const)[precision],
});

/**
 * The WebGPU provider (ONNX Runtime 1.30): its MultiHeadAttention computes wrong values on Vulkan, its
 * LayerNormalization has no statistics, FusedMatMul, Sum and some others have no kernel there, and ScatterND adds to
 * what an earlier run left. It binds a tensor above the device's largest binding (128 MiB at least) as several buffers,
 * of which Softmax, LayerNormalization and Pad see the first alone, and with which Conv ends in an error.
 */
export const WEBGPU_LOWERING: Lowering = {
  attention: 'composed',
  layerNormStatistics: false,
  fusedProduct: false,
  sum: false,
  scatter: false,
  bindingBytes: 2 ** 27,
  complete: false,
  products: 'float32',
  bf16Parts: 0,
};
