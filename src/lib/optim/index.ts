/** The parameters of a network with their moments and averages, and the optimisers AdamW and Muon. */
export { captureGradients } from './gradients.js';
export type { Learning, ParameterSpec, StoredParameter } from './layout.js';
export type { StepOptions } from './steps.js';
export { ParameterStore, type StoreOptions } from './store.js';
