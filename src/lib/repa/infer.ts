/** The network, with its methods, that weights of an unknown run are of. */
import type { Architecture, TransformerConfig } from '../models/dit-sizes.js';
import { inferTransformer, trunkDepth } from '../models/dit-weights.js';
import { holdsMmdit, inferMmdit } from '../models/mmdit.js';
import type { Shapes } from '../models/parameters.js';
import { METHODS, type MethodSettings } from './methods.js';
import { type Network, prefixTokens } from './network.js';

/** What weights do not tell of a network. */
export interface KnownNetwork extends Partial<Omit<TransformerConfig, 'depth'>> {
  methods?: MethodSettings;
}

/** The settings of the methods whose parameters are among weights of an unknown run. */
function recogniseMethods(shapes: Shapes, model: { depth: number }): MethodSettings {
  const found = METHODS.map((method) => [method.name, method.recognise?.(shapes, model)] as const);
  return Object.fromEntries(found.filter(([, settings]) => settings !== undefined));
}

/**
 * The network that weights are of. What their shapes do not tell is as published, or `known`'s.
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
  const methods = { ...recogniseMethods(shapes, { depth: trunkDepth(shapes) }), ...settings };
  return {
    architecture,
    model: inferTransformer(architecture, shapes, source, known, prefixTokens({ methods })),
    methods,
  };
}
