/** The one door to tensor execution. */
export { type Captured, capture } from './capture.js';
export { onCompilation } from './compilation.js';
export type { BackendName, DeviceRows, DeviceSpace, EngineInfo, TensorFunction, TensorSpec } from './engine.js';
export * from './fused.js';
export { type BackendOptions, deviceSpace, engineInfo, selectBackend } from './select.js';
export type { MaybePromise, Space, Values, Weight } from './space.js';
export * as tf from './tfjs.js';
