/** Recipes of papers that are no method of their own, or several together: values of options by the names that repa.toml has. */
import type { Preset } from '../options/resolve.js';

export const RECIPES: Readonly<Record<string, Preset>> = {
  /** SiT (arXiv 2401.08740): no alignment. */
  sit: { lambda: 0 },
  /** The network and the losses of LightningDiT (arXiv 2501.01423): no alignment. */
  'lightning-dit': {
    lambda: 0,
    norm: 'rms',
    'feed-forward': 'swiglu',
    rotary: true,
    'qk-norm': true,
    time: 'lognormal',
    direction: 1,
    beta2: 0.95,
  },
  /** SR-DiT (arXiv 2512.12386), without its residual values. */
  'sr-dit': {
    lambda: 0.5,
    'align-depth': 2,
    'class-token': 0.03,
    contrastive: 0.05,
    route: 0.75,
    fusion: true,
    'path-drop': 0.05,
    norm: 'rms',
    rotary: true,
    'qk-norm': true,
    'time-shift': 'auto',
  },
};
