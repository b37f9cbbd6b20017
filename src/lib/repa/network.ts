/** A transformer with the methods that it was or is trained with: its parameters, and its forward pass. */
import type { tf } from '../engine/index.js';
import { dit, type Seams, sit, type TransformerOutput, toVelocity, transformerParameters } from '../models/dit.js';
import { type Architecture, patchCount, type TransformerConfig } from '../models/dit-sizes.js';
import { isMmdit, mmdit, mmditParameters } from '../models/mmdit.js';
import type { Parameters } from '../models/parameters.js';
import { type ParameterPlan, startingWeights } from '../models/start.js';
import { type ActiveMethod, activeMethods, type MethodSettings, variantOf } from './methods.js';
import type { MethodDraws, Surroundings } from './pass.js';

export interface Network {
  architecture: Architecture;
  model: TransformerConfig;
  /** Settings of the methods that are on. */
  methods: MethodSettings;
}

/** The method that generates something beside the image; there is at most one. */
const companionOf = (active: readonly ActiveMethod[]): ActiveMethod | undefined =>
  active.find(({ method }) => method.companion);

/** P, how many tokens stand before the patches. */
export const prefixTokens = ({ methods }: Pick<Network, 'methods'>): number =>
  companionOf(activeMethods(methods))?.method.companion?.tokens ?? 0;

/** Z, how many numbers are generated beside each image. */
export function companionSize({ methods }: Pick<Network, 'methods'>): number {
  const generating = companionOf(activeMethods(methods));
  return generating?.method.companion?.size(generating.settings) ?? 0;
}

/** The network as methods see it. */
export const surroundingsOf = (network: Network): Surroundings => ({
  architecture: network.architecture,
  model: network.model,
  tokens: prefixTokens(network) + patchCount(network.model),
  variant: variantOf(activeMethods(network.methods)),
});

/** Every parameter, in the order of the official state dict. */
export function networkParameters(network: Network): Map<string, ParameterPlan> {
  const surroundings = surroundingsOf(network);
  const added = activeMethods(network.methods).flatMap(
    ({ method, settings }) => method.parameters?.(settings, surroundings) ?? [],
  );
  const { model } = network;
  return isMmdit(model) ? mmditParameters(model, added) : transformerParameters(model, added, prefixTokens(network));
}

/** Fresh weights, one by one, in the distributions of the official code. */
export const startingNetwork = (network: Network, seed: number) => startingWeights(networkParameters(network), seed);

export interface ForwardInputs {
  /** Noisy latents [B, C, h, w]. */
  x: tf.Tensor;
  /** For a SiT times [B], 0 = data, 1 = noise; for a DiT steps [B], f32 of 0..999. */
  t: tf.Tensor;
  /** Classes [B] int32; for an MM-DiT, vectors of words [B, L, D]. */
  y: tf.Tensor;
  /** What is generated beside the images, noisy: [B, Z]. */
  companion?: tf.Tensor;
}

/** The velocity that the output of a SiT's head stands for, [B, C, h, w]; for a DiT, the output itself. */
export type VelocityOf = (predicted: tf.Tensor) => tf.Tensor;

export interface ForwardOutput extends Pick<TransformerOutput, 'output' | 'hidden' | 'condition'> {
  /** The velocity of what is generated beside the images, [B, Z]. */
  companion?: tf.Tensor;
  /** The velocity that the output of a further head stands for. */
  velocityOf: VelocityOf;
  /** Takes from values of all tokens [B, P + T, ...] those of the tokens that pass a block. */
  seen(values: tf.Tensor, block: number): tf.Tensor;
}

export interface ForwardOptions extends Pick<Seams, 'checkpointBlocks'> {
  draws?: MethodDraws;
  /** Whether methods leave out what makes the prediction strong. */
  weakened?: boolean;
}

/** The forward pass; without `draws` it is that of sampling. */
export function forward(
  p: Parameters,
  { architecture, model, methods }: Network,
  { x, t, y, companion }: ForwardInputs,
  { draws = {}, checkpointBlocks, weakened = false }: ForwardOptions = {},
): ForwardOutput {
  const active = activeMethods(methods);
  const generated = companionOf(active)?.method.companion;
  const passages = active.flatMap(({ method, settings }) => {
    const weak = weakened ? method.weakened?.(settings, p) : undefined;
    return weak ?? method.passage?.(settings, p, draws[method.name] ?? {}) ?? [];
  });
  const prefix = companion && generated?.enter(p, model, companion); // [B, P, D]

  const pass = isMmdit(model)
    ? mmdit(p, model, x, t, y) // methods do nothing to its tokens
    : (architecture === 'SiT' ? sit : dit)(p, model, x, t, y, { prefix, passages, checkpointBlocks });
  return {
    ...pass,
    velocityOf: (predicted) => (architecture === 'SiT' ? toVelocity(model, predicted, x, t) : predicted),
    companion: pass.prefix && generated?.leave(p, pass.prefix), // [B, Z]
    seen: (values, block) => passages.reduce((all, passage) => passage.seen?.(all, block) ?? all, values),
  };
}

/** What terms read of a pass, besides its targets. */
export const passOf = (p: Parameters, network: Network, output: ForwardOutput, features: readonly tf.Tensor[]) => ({
  ...surroundingsOf(network),
  p,
  hidden: (block: number): tf.Tensor => output.hidden[block - 1], // [B, P + T, D]
  condition: output.condition,
  velocityOf: output.velocityOf,
  seen: output.seen,
  features,
});
