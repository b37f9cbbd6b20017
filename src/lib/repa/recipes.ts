/**
 * Recipes of papers that are no method of their own, or several together: values of options under repa.toml's names.
 */
import type { Preset } from '../options/resolve.js';

/** The network and the losses of LightningDiT (arXiv 2501.01423): no alignment. */
const LIGHTNING: Preset = {
  lambda: 0,
  norm: 'rms',
  'feed-forward': 'swiglu',
  rotary: true,
  'qk-norm': true,
  time: 'lognormal',
  direction: 1,
  beta2: 0.95,
};

/** The learning rate of RAE and its successors: it falls from epoch 40 to 800 of ImageNet, of 1,251 steps each. */
const RAE_RATE: Preset = {
  'batch-size': 1024,
  lr: 2e-4,
  'lr-schedule': 'linear',
  'lr-final': 2e-5,
  'lr-decay': '50040-1000800',
};

/** That of RAEv2 falls from epoch 25 to 50. */
const RAE_2_DECAY = '31275-62550';

/** What networks on encoder tokens have in common: RAE's, and RJF's, which has no wide head. */
const ENCODER_TOKENS: Preset = {
  lambda: 0,
  'time-embedding': 'fourier',
  norm: 'rms',
  'feed-forward': 'swiglu',
  rotary: true,
  time: 'lognormal',
  'time-shift': 'auto',
  ...RAE_RATE,
  beta2: 0.95,
  ema: [0.9995],
};

/** JiT (arXiv 2511.13720): pixels without an autoencoder; size B, at the noise of its 256-pixel models. */
const JIT: Preset = {
  lambda: 0,
  model: 'SiT-B/16',
  prediction: 'data',
  bottleneck: 128,
  'context-tokens': 32,
  norm: 'rms',
  'feed-forward': 'swiglu',
  rotary: true,
  'qk-norm': true,
  time: 'lognormal',
  'time-mean': 0.8,
  'time-deviation': 0.8,
  beta2: 0.95,
};

export const RECIPES: Readonly<Record<string, Preset>> = {
  /** SiT (arXiv 2401.08740): no alignment. */
  sit: { lambda: 0 },
  'lightning-dit': LIGHTNING,
  /**
   * SFD (arXiv 2512.04926), with the components of features of ReDi in place of its semantic latents, which are not
   * published.
   */
  sfd: {
    ...LIGHTNING,
    lambda: 1,
    'align-depth': 2,
    representation: 1,
    'representation-channels': 16,
    'representation-lead': 0.3,
    beta2: 0.999,
  },
  jit: JIT,
  /** PixelREPA (arXiv 2603.14366), in place of REPA's term. */
  'pixel-repa': { ...JIT, 'pixel-repa': 0.1 },
  /** DiT^DH of RAE (arXiv 2510.11690), on latents that are encoder tokens. */
  rae: { ...ENCODER_TOKENS, model: 'SiT-XL/1', 'wide-head': '2x2048x16' },
  /** RAEv2 (arXiv 2605.18324); sampled with --internal-cfg 1.78 --internal-low 0.1. */
  'rae-2': {
    ...ENCODER_TOKENS,
    model: 'SiT-XL/1',
    width: 1440,
    'wide-head': '2x2048x16',
    'condition-tokens': '4+8',
    'qk-norm': true,
    positions: 'none',
    prediction: 'data',
    internal: 1,
    'internal-block': 8,
    optimizer: 'muon',
    'lr-decay': RAE_2_DECAY,
  },
  /** RJF (arXiv 2602.10099): encoder tokens without statistics, along the sphere, through a plain network. */
  rjf: { ...ENCODER_TOKENS, model: 'SiT-B/1', path: 'geodesic' },
  /** SR-DiT (arXiv 2512.12386); sampled with --path-drop-guidance. */
  'sr-dit': {
    lambda: 0.5,
    'align-depth': 2,
    'class-token': 0.03,
    contrastive: 0.05,
    route: 0.75,
    fusion: true,
    'path-drop': 0.05,
    'path-drop-of': 'step',
    norm: 'rms-plain',
    'value-residual': true,
    rotary: true,
    'qk-norm': true,
    'time-shift': 'auto',
  },
};
