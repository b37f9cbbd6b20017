/** What turns gradients into weights: the parameters of a network with their moments and averages, AdamW and Muon. */
export { captureGradients } from './gradients.js';
export type { Learning, ParameterSpec, StoredParameter } from './layout.js';
export { ParameterStore, type StepOptions, type StoreOptions } from './store.js';
