/** Forms of the SDE's diffusion coefficient (SiT, arXiv 2401.08740, table 2). */
import type { PathCoefficients } from '../interpolant.js';

/** Choices of the diffusion coefficient w(t), whose square root scales the noise; named as in the original SiT. */
export type DiffusionForm = 'constant' | 'sigma' | 'linear' | 'decreasing' | 'increasing-decreasing' | 'sbdm';

/** w at time t, given the path's coefficients there and `norm`, which scales w (in `decreasing`, a part of it). */
type Diffusion = (t: number, path: PathCoefficients, norm: number) => number;

/** The forms by name. */
export const DIFFUSION: Readonly<Record<DiffusionForm, Diffusion>> = {
  constant: (_t, _path, norm) => 2 * norm,
  sigma: (_t, { sigma }, norm) => 2 * norm * sigma,
  linear: (t, _path, norm) => 2 * norm * t,
  decreasing: (t, _path, norm) => 0.5 * (1 - norm * Math.cos(Math.PI * t)) ** 2,
  'increasing-decreasing': (t, _path, norm) => 2 * norm * Math.sin(Math.PI * t) ** 2,
  // The w(t) of score-based diffusion; infinite at t = 1 unless the path is `vp`.
  sbdm: (_t, { alpha, sigma, alphaPrime, sigmaPrime }, norm) =>
    2 * norm * (sigma * sigmaPrime - (alphaPrime / alpha) * sigma ** 2),
};
