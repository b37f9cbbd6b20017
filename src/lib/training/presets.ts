/** Recipes of papers by name: values for options that are given neither on the command line nor in a configuration. */
import type { RunOptions } from './plan.js';

export type Preset = Readonly<Partial<RunOptions>>;

const WITHOUT_ENCODER = { lambda: 0 };

const LIGHTNING = {
  norm: 'rms',
  feedForward: 'swiglu',
  rotary: true,
  qkNorm: true,
  time: 'lognormal',
  direction: 1,
  beta2: 0.95,
} as const;

export const PRESETS = {
  /** SiT (arXiv 2401.08740): no alignment. */
  sit: WITHOUT_ENCODER,
  /** REPA (arXiv 2410.06940). */
  repa: { lambda: 0.5, projectionLoss: 'cosine' },
  /** iREPA (arXiv 2512.10794). */
  irepa: { lambda: 1, projector: 'conv', spatialNorm: 1 },
  /** The early stop of HASTE (arXiv 2505.16792), at its step for L and XL; for B it is 100,000. */
  haste: { lambda: 0.5, alignUntil: 250_000 },
  /** U-REPA's manifold term (arXiv 2503.18414). */
  'u-repa': { lambda: 0.5, manifold: 3 },
  /** Delta-FM (arXiv 2506.05350) with REPA. */
  'delta-fm': { lambda: 0.5, contrastive: 0.05 },
  /** LayerSync (arXiv 2510.12581). */
  'layer-sync': { ...WITHOUT_ENCODER, layerSync: 0.2 },
  /** Dispersive Loss (arXiv 2506.09027). */
  dispersive: { ...WITHOUT_ENCODER, dispersive: 0.5 },
  /** SRA (arXiv 2505.02831). */
  sra: { ...WITHOUT_ENCODER, sra: 0.2 },
  /** REG (arXiv 2507.01467). */
  reg: { lambda: 0.5, classToken: 0.03 },
  /** ReDi (arXiv 2504.16064), which is not aligned besides. */
  redi: { ...WITHOUT_ENCODER, representation: 1 },
  /** TREAD (arXiv 2501.04765) with REPA. */
  tread: { lambda: 0.5, route: 0.5 },
  /** The first stage of SPRINT (arXiv 2510.21986) with REPA, at the end of the dense blocks. */
  sprint: { lambda: 0.5, alignDepth: 2, route: 0.75, fusion: true, pathDrop: 0.05 },
  /** The network and the losses of LightningDiT (arXiv 2501.01423): no alignment. */
  'lightning-dit': { ...WITHOUT_ENCODER, ...LIGHTNING },
  /** SR-DiT (arXiv 2512.12386), without its residual values. */
  'sr-dit': {
    lambda: 0.5,
    alignDepth: 2,
    classToken: 0.03,
    contrastive: 0.05,
    route: 0.75,
    fusion: true,
    pathDrop: 0.05,
    norm: 'rms',
    rotary: true,
    qkNorm: true,
    timeShift: 'auto',
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof PRESETS;

export const PRESET_NAMES = Object.keys(PRESETS) as PresetName[];

/** The values of a preset by the names of their options. */
export const presetValues = (name: PresetName): Readonly<Record<string, unknown>> =>
  Object.fromEntries(
    Object.entries(PRESETS[name]).map(([key, value]) => [key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`), value]),
  );
