/** How images are sampled: what was asked for, settled for a model, and told in the header of the result. */
import type { TrainingPath } from '../diffusion/interpolant.js';
import { DOPRI5_TOLERANCES } from '../diffusion/samplers/dopri5.js';
import { type DiffusionForm, LAST_STEP_SIZE, type LastStep } from '../diffusion/samplers/sde.js';
import { UsageError } from '../errors.js';
import type { RunRecord } from '../training/settings.js';
import type { DiffusionModel } from './diffusion-model.js';

/** `ode` and `sde` follow a velocity (SiT), `ddpm` and `ddim` the steps of a noise predictor (DiT). */
export type SamplerMode = 'ode' | 'sde' | 'ddpm' | 'ddim';

export type OdeSolver = 'euler' | 'heun' | 'dopri5';

export interface SamplerSettings {
  mode: SamplerMode;
  /** Of the ODE. */
  solver: OdeSolver;
  /** Of the SDE: its w(t) and what scales it, how its last step is taken and how long it is. */
  diffusion: DiffusionForm;
  diffusionNorm: number;
  lastStep: LastStep;
  lastStepSize: number;
  steps: number;
  /** Of dopri5, which chooses its steps by them. */
  absoluteTolerance: number;
  relativeTolerance: number;
  /** How much closer to the noise the steps of ODE and SDE lie; 1 is evenly spaced. */
  timeShift: number;
  cfg: number;
  guidanceLow: number;
  guidanceHigh: number;
  /** Only the first channels are guided; undefined for all. */
  guidanceChannels: number | undefined;
  /** What a SiT was trained on. */
  path: TrainingPath;
  seed: number;
}

/** What the command line says; the rest is as the model's authors sample it. */
export interface SamplerOptions
  extends Pick<SamplerSettings, 'cfg' | 'guidanceLow' | 'guidanceHigh' | 'seed'>,
    Partial<
      Pick<SamplerSettings, 'mode' | 'solver' | 'diffusion' | 'diffusionNorm' | 'lastStep' | 'lastStepSize'> &
        Pick<SamplerSettings, 'steps' | 'timeShift' | 'guidanceChannels'>
    > {
  /** Tolerances of dopri5. */
  atol?: number;
  rtol?: number;
  /** A checkpoint to be guided by, in place of the model without label. */
  guideCkpt?: string;
}

const MODES: Readonly<Record<RunRecord['architecture'], readonly SamplerMode[]>> = {
  SiT: ['ode', 'sde'],
  DiT: ['ddpm', 'ddim'],
};

/** Those of REPA's sampler, and of DiT's. */
const DEFAULT_STEPS: Readonly<Record<SamplerMode, number>> = { ode: 50, sde: 50, ddpm: 250, ddim: 250 };

/** The samplers of DiT and the original SiT guide 3 of 4 channels, and no variance: their published numbers hold that. */
const GUIDED_WITH_VARIANCE = 3;

/**
 * The sampler of a model: what was asked for, else what its authors sample it with.
 * @throws UsageError for a mode that is not for this architecture, or an option that is not for this mode
 */
export function settleSampler({ record, config }: DiffusionModel, options: SamplerOptions): SamplerSettings {
  const mode = samplerMode(record.architecture, options.mode);
  checkOptions(mode, options);
  const predictsVariance = config.outChannels === 2 * config.inChannels;
  const { solver = 'euler', diffusion = 'linear', diffusionNorm = 1 } = options;
  const { lastStep = 'mean', lastStepSize = LAST_STEP_SIZE } = options;
  const trainedShift = mode === 'sde' || (mode === 'ode' && solver !== 'dopri5') ? record.training.timeShift : 1;
  const { cfg, guidanceLow, guidanceHigh, seed } = options;
  return {
    mode,
    solver,
    diffusion,
    diffusionNorm,
    lastStep,
    lastStepSize,
    steps: options.steps ?? DEFAULT_STEPS[mode],
    absoluteTolerance: options.atol ?? DOPRI5_TOLERANCES.absolute,
    relativeTolerance: options.rtol ?? DOPRI5_TOLERANCES.relative,
    timeShift: options.timeShift ?? trainedShift ?? 1,
    cfg,
    guidanceLow,
    guidanceHigh,
    guidanceChannels: options.guidanceChannels ?? (predictsVariance ? GUIDED_WITH_VARIANCE : undefined),
    path: record.training.path,
    seed,
  };
}

function samplerMode(architecture: RunRecord['architecture'], wanted: SamplerMode | undefined): SamplerMode {
  const modes = MODES[architecture];
  if (wanted === undefined || modes.includes(wanted)) return wanted ?? modes[0];
  throw new UsageError(`--mode ${wanted} is not for a ${architecture}`, `Choose ${modes.join(' or ')}.`);
}

function checkOptions(mode: SamplerMode, options: SamplerOptions): void {
  const refuse = (option: string, forWhat: string): never => {
    throw new UsageError(`${option} is for ${forWhat}, this is ${mode}`, 'Drop it, or choose another --mode.');
  };
  if (options.solver !== undefined && mode !== 'ode') refuse('--solver', 'the ODE');
  if (options.diffusion !== undefined && mode !== 'sde') refuse('--diffusion', 'the SDE');
  if (options.diffusionNorm !== undefined && mode !== 'sde') refuse('--diffusion-norm', 'the SDE');
  if (options.lastStep !== undefined && mode !== 'sde') refuse('--last-step', 'the SDE');
  if (options.lastStepSize !== undefined && mode !== 'sde') refuse('--last-step-size', 'the SDE');
  if (options.lastStepSize !== undefined && options.lastStep === 'none') {
    throw new UsageError('--last-step-size is of a last step, and --last-step none takes none');
  }
  if (mode === 'sde' && options.steps === 1) throw new UsageError('the SDE takes at least 2 steps');
  if (options.timeShift !== undefined && mode !== 'ode' && mode !== 'sde') refuse('--time-shift', 'ODE and SDE');
  for (const [option, value] of [
    ['--time-shift', options.timeShift],
    ['--steps', options.steps],
  ] as const) {
    if (value === undefined || options.solver !== 'dopri5') continue;
    throw new UsageError(`${option} is for steps of a fixed length, and dopri5 chooses its own`);
  }
  for (const [option, value] of [
    ['--atol', options.atol],
    ['--rtol', options.rtol],
  ] as const) {
    if (value !== undefined && options.solver !== 'dopri5') refuse(option, '--solver dopri5');
  }
  if (options.guideCkpt !== undefined && options.cfg <= 1) {
    throw new UsageError('--guide-ckpt guides nothing at --cfg 1', 'Give a --cfg above 1.');
  }
}

/** The settings that a result depends on, under the names that its header has them by. */
export function describeSampler(settings: SamplerSettings): Record<string, unknown> {
  const { mode, solver, diffusion, diffusionNorm, lastStep, lastStepSize, timeShift } = settings;
  const adaptive = mode === 'ode' && solver === 'dopri5';
  return {
    mode,
    ...(mode === 'ode' ? { solver } : {}),
    ...(adaptive ? { atol: settings.absoluteTolerance, rtol: settings.relativeTolerance } : {}),
    ...(mode === 'sde' ? { diffusion, diffusion_norm: diffusionNorm, last_step: lastStep } : {}),
    ...(mode === 'sde' && lastStep !== 'none' ? { last_step_size: lastStepSize } : {}),
    steps: adaptive ? 'adaptive' : settings.steps,
    ...(timeShift === 1 ? {} : { time_shift: timeShift }),
    cfg: settings.cfg,
    interval: [settings.guidanceLow, settings.guidanceHigh],
    guidance_channels: settings.guidanceChannels ?? 'all',
    seed: settings.seed,
  };
}
