/** Operations that tfjs has only in pieces, each with its own gradient; backends run them whole where they can. */
export { type Activation, activate, GELU_ERF, GELU_QUICK, GELU_TANH, SILU } from './fused/activations.js';
export { attention } from './fused/attention.js';
export { checkpoint } from './fused/checkpoint.js';
export { detach } from './fused/detach.js';
export { avgPool2d, conv2d, depthwiseConv2d, maxPool2d, upsampleNearest2x, type Window } from './fused/image.js';
export { linear } from './fused/linear.js';
export { groupNorm, layerNorm, rmsNorm } from './fused/normalise.js';
export { reorder } from './fused/reorder.js';
