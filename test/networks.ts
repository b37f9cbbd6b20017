/** Small networks for tests, with the methods that they are trained with. */
import { type Architecture, type TransformerConfig, transformerConfig } from '../src/lib/models/dit-sizes.js';
import type { MethodSettings } from '../src/lib/repa/methods.js';
import type { Network } from '../src/lib/repa/network.js';

/** REPA with the paper's weight. */
export const repaOf = (dims: readonly number[], projectorDim: number, others: object = {}) => ({
  repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim, dims, ...others },
});

/** The published model `name` except where sizes say otherwise, such as `SiT-S/2`. */
export function networkOf(name: string, sizes: Partial<TransformerConfig> = {}, methods: MethodSettings = {}): Network {
  const architecture = name.slice(0, 3) as Architecture;
  return { architecture, model: transformerConfig(architecture, name, sizes), methods };
}
