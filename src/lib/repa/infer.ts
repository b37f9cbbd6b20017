/** Finds the network and its methods by the weights alone, of a run that left no record. */
import type { Architecture, TransformerConfig } from '../models/dit-sizes.js';
import { inferTransformer, trunkDepth } from '../models/dit-weights.js';
import { holdsMmdit, inferMmdit } from '../models/mmdit.js';
import type { Shapes } from '../models/parameters.js';
import { METHODS, type MethodSettings } from './methods.js';
import { type Network, prefixTokens } from './network.js';

/** What is known of a network besides its weights. */
export interface KnownNetwork extends Partial<Omit<TransformerConfig, 'depth'>> {
  methods?: MethodSettings;
}

/** The settings of the methods whose parameters are among the weights. */
function recogniseMethods(shapes: Shapes, model: { depth: number }): MethodSettings {
  const found = METHODS.map((method) => [method.name, method.recognise?.(shapes, model)] as const);
  return Object.fromEntries(found.filter(([, settings]) => settings !== undefined));
}

/**
 * The network that has weights of these shapes. What shapes do not tell is taken from `known`, else as published.
 * @throws DataError if the names are not those of a SiT or DiT
 */
export function inferNetwork(
  architecture: Architecture,
  shapes: Shapes,
  source: string,
  { methods: settings, ...known }: KnownNetwork = {},
): Network {
  if (holdsMmdit(shapes)) {
    const model = inferMmdit(shapes, source, known);
    return { architecture, model, methods: { ...recogniseMethods(shapes, model), ...settings } };
  }
  const methods = { ...recogniseMethods(shapes, { depth: trunkDepth(shapes, source) }), ...settings };
  return {
    architecture,
    model: inferTransformer(architecture, shapes, source, known, prefixTokens({ methods })),
    methods,
  };
}
