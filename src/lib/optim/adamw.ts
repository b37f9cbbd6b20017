/** AdamW (arXiv 1711.05101) as torch.optim.AdamW computes it. */
import type { VectorMemory } from './memory.js';

export interface AdamWOptions {
  lr: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** Decoupled: parameters shrink by lr * weightDecay, whatever their gradients. */
  weightDecay: number;
  /** Counted from 1. */
  step: number;
}

/** Updates all parameters of a memory and their moments, with gradients multiplied by `gradientScale`. */
export function adamw(memory: VectorMemory, options: AdamWOptions, gradientScale: number): void {
  const { lr, beta1, beta2, epsilon, weightDecay, step } = options;
  memory.arithmetic.adamw(
    memory.address('value'),
    memory.address('gradient'),
    memory.address('firstMoment'),
    memory.address('secondMoment'),
    memory.length,
    gradientScale,
    beta1,
    1 - beta1,
    beta2,
    1 - beta2,
    1 - lr * weightDecay,
    lr / (1 - beta1 ** step),
    Math.sqrt(1 - beta2 ** step),
    epsilon,
  );
}

/** Factor that shortens a gradient to norm `clip` (torch.nn.utils.clip_grad_norm_, with its 1e-6). */
export const clipCoefficient = (norm: number, clip: number): number => Math.min(1, clip / (norm + 1e-6));
