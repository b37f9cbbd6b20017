/**
 * Stochastic interpolants between data and noise: x_t = alpha(t) x + sigma(t) e with t = 0 data and t = 1 noise
 * (SiT, arXiv 2401.08740, section 2, in the time direction of REPA).
 */

/**
 * The paths of one alpha and sigma for all that a velocity network can be trained on; on `vp` its target would be
 * infinite at t = 0.
 */
export type FlatPath = 'linear' | 'cosine';

/**
 * The paths that a velocity network can be trained on: on `geodesic`, see geodesic.ts, alpha and sigma are those of two
 * directions.
 */
export const TRAINING_PATHS = ['linear', 'cosine', 'geodesic'] as const;

export type TrainingPath = (typeof TRAINING_PATHS)[number];

export type PathName = FlatPath | 'vp';

/** The coefficients of a path at one time, and their derivatives in t. */
export interface PathCoefficients {
  readonly alpha: number;
  readonly sigma: number;
  readonly alphaPrime: number;
  readonly sigmaPrime: number;
}

export type Interpolant = (t: number) => PathCoefficients;

const linear: Interpolant = (t) => ({ alpha: 1 - t, sigma: t, alphaPrime: -1, sigmaPrime: 1 });

/** SiT calls it GVP, the generalised variance-preserving path. */
const cosine: Interpolant = (t) => {
  const angle = (Math.PI / 2) * t;
  const [alpha, sigma] = [Math.cos(angle), Math.sin(angle)];
  return { alpha, sigma, alphaPrime: (-Math.PI / 2) * sigma, sigmaPrime: (Math.PI / 2) * alpha };
};

const VP_BETA_MIN = 0.1;
const VP_BETA_MAX = 20;

/** The variance-preserving diffusion of score SDEs (arXiv 2011.13456); sigma' is infinite at t = 0. */
const vp: Interpolant = (t) => {
  const alpha = Math.exp(-0.25 * t * t * (VP_BETA_MAX - VP_BETA_MIN) - 0.5 * t * VP_BETA_MIN);
  const sigma = Math.sqrt(1 - alpha * alpha);
  const beta = VP_BETA_MIN + t * (VP_BETA_MAX - VP_BETA_MIN);
  const alphaPrime = -0.5 * beta * alpha;
  return { alpha, sigma, alphaPrime, sigmaPrime: (-alpha * alphaPrime) / sigma };
};

export const interpolants: Readonly<Record<PathName, Interpolant>> = { linear, cosine, vp };

/**
 * The score of the marginal density at x_t as a linear function of the state and the velocity:
 * `score = onVelocity * v + onState * x`. From s = ((alpha/alpha') v - x) / (sigma^2 - (alpha/alpha') sigma' sigma),
 * SiT equation (9).
 */
export function scoreWeights(path: PathCoefficients): { onVelocity: number; onState: number } {
  const ratio = path.alpha / path.alphaPrime;
  const variance = path.sigma ** 2 - ratio * path.sigmaPrime * path.sigma;
  return { onVelocity: ratio / variance, onState: -1 / variance };
}
