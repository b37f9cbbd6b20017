/** How images are sampled: what was asked for, settled for a model, and told in the header of the result. */
import { type SamplerOptions as OwnOptions, type SettledSampler, settle } from '../diffusion/samplers/index.js';
import { UsageError } from '../errors.js';
import { portablePath } from '../files/portable-path.js';
import { projectedShape } from '../repa/projected.js';
import { hasWeakened, hasWeaker } from '../repa/weaker.js';
import type { AnchorSettings } from './anchor.js';
import type { DiffusionModel, InternalGuidance } from './model.js';

export interface SamplerSettings {
  sampler: SettledSampler;
  cfg: number;
  guidanceLow: number;
  guidanceHigh: number;
  /** Only the first channels are guided; undefined for all. */
  guidanceChannels: number | undefined;
  /** Internal guidance, inside the network; undefined for none. */
  internal?: InternalGuidance;
  /** Whether the prediction without label is one without the middle blocks, too. */
  pathDropGuidance?: boolean;
  /** How strongly samples are drawn to an anchor; undefined for not at all. */
  anchored?: AnchorSettings;
  seed: number;
}

/** What the command line says; the rest is as the model's authors sample it. */
export interface SamplerOptions extends OwnOptions {
  cfg: number;
  guidanceLow?: number;
  guidanceHigh?: number;
  guidanceChannels?: number;
  /** A checkpoint to be guided by, in place of the model without label. */
  guideCkpt?: string;
  internalCfg?: number;
  internalLow?: number;
  internalHigh?: number;
  pathDropGuidance?: true;
  repaGuidance?: number;
  anchor?: string;
  anchorRow?: number;
  anchorMean?: true;
  seed: number;
}

/** The samplers of DiT and the original SiT guide 3 of 4 channels, and no variance: their published numbers hold that. */
const GUIDED_WITH_VARIANCE = 3;

/**
 * The sampler of a model: what was asked for, else what its authors sample it with.
 * @throws UsageError for a mode that is not for this architecture, an option that is not for this mode, or guidance
 *   that could not guide
 */
export function settleSampler({ record, source }: DiffusionModel, options: SamplerOptions): SamplerSettings {
  const { path, timeShift = 1, labelDropout } = record.training;
  const sampler = settle(record.architecture, { path, timeShift }, options);
  const { cfg, guidanceLow = 0, guidanceHigh = 1, guideCkpt, seed } = options;
  const isGuided = cfg > 1;
  if (isGuided && guidanceLow > guidanceHigh) {
    throw new UsageError(
      `nothing would be guided: --guidance-low ${guidanceLow} is above --guidance-high ${guidanceHigh}`,
    );
  }
  checkLead(record, options);
  checkGuidable(isGuided && guideCkpt === undefined, record, source);
  if (isGuided && guideCkpt === undefined && labelDropout === 0) {
    throw new UsageError(
      `${source} was trained with --label-dropout 0: it knows no images without label, which --cfg guides away from`,
      'Sample with --cfg 1, or guide by another checkpoint with --guide-ckpt.',
    );
  }
  if (options.pathDropGuidance && !hasWeakened(record)) {
    throw new UsageError(
      `--path-drop-guidance: ${source} has no middle blocks that can be left out`,
      'Train one with --fusion --path-drop 0.1, or --preset sprint.',
    );
  }
  const anchored = settleAnchor(options, record, source);
  const internal = settleInternal(options, record, source);
  const predictsVariance = record.model.outChannels === 2 * record.model.inChannels;
  return {
    sampler,
    cfg,
    // An interval in which nothing is guided is no fact about the samples.
    guidanceLow: isGuided ? guidanceLow : 0,
    guidanceHigh: isGuided ? guidanceHigh : 1,
    guidanceChannels: options.guidanceChannels ?? (predictsVariance ? GUIDED_WITH_VARIANCE : undefined),
    ...(internal ? { internal } : {}),
    ...(options.pathDropGuidance ? { pathDropGuidance: true } : {}),
    ...(anchored ? { anchored } : {}),
    seed,
  };
}

/** @throws UsageError for what the times of channels that lead are not known to go with */
function checkLead({ model }: DiffusionModel['record'], { mode, repaGuidance = 0 }: SamplerOptions): void {
  if (!model.lead) return;
  const option = mode === 'sde' ? '--mode sde' : repaGuidance > 0 ? '--repa-guidance' : undefined;
  if (option === undefined) return;
  throw new UsageError(`${option} takes all channels to be at one time, and some are ahead`, 'Sample by --mode ode.');
}

/** @throws UsageError for guidance of a model by itself that does not know both images with and without label */
function checkGuidable(isGuided: boolean, { model, data }: DiffusionModel['record'], source: string): void {
  if (!isGuided) return;
  const hint = 'Sample with --cfg 1, or guide by another checkpoint with --guide-ckpt.';
  if (!model.nullClass) {
    throw new UsageError(
      `${source} has no null class, which --cfg guides away from: its label table has classes alone`,
      hint,
    );
  }
  if (data.labelled === 0) {
    throw new UsageError(`${source} was trained on images without labels: --cfg has no class to guide towards`, hint);
  }
}

/** @throws UsageError for a network without a weaker prediction, and an empty interval */
function settleInternal(
  { internalCfg = 1, internalLow: low = 0, internalHigh: high = 1 }: SamplerOptions,
  record: DiffusionModel['record'],
  source: string,
): InternalGuidance | undefined {
  if (internalCfg === 1) return undefined;
  if (!hasWeaker(record)) {
    throw new UsageError(
      `--internal-cfg: ${source} has no early head to be guided by`,
      'Train one with --internal 0.5, or --preset internal-guidance.',
    );
  }
  if (low > high)
    throw new UsageError(`nothing would be guided: --internal-low ${low} is above --internal-high ${high}`);
  return { scale: internalCfg, low, high };
}

/**
 * @throws UsageError for a network without a projector, and samplers whose drift is not known to take it
 */
function settleAnchor(
  { repaGuidance: scale = 0, anchor: file, anchorRow: row = 0, anchorMean, ...options }: SamplerOptions,
  record: DiffusionModel['record'],
  source: string,
): AnchorSettings | undefined {
  if (scale === 0 || file === undefined) return undefined;
  if (!projectedShape(record)) {
    throw new UsageError(
      `--repa-guidance: ${source} has no projector to compare features through`,
      'Sample a model that was trained with --lambda above 0.',
    );
  }
  const drift = options.mode === 'sde' ? 'sde' : 'ode';
  const { guidanceLow: low = 0, guidanceHigh: high = 1, diffusion = 'linear', diffusionNorm = 1 } = options;
  const isKnown = diffusion === 'linear' && diffusionNorm === 1 && record.training.path === 'linear';
  if (record.architecture !== 'SiT' || (drift === 'sde' && !isKnown)) {
    throw new UsageError(
      '--repa-guidance is for a SiT, by --mode ode, or by --mode sde of --diffusion linear on a linear path',
      'Change the sampler, or sample without.',
    );
  }
  return { scale, file, row, mean: anchorMean ?? false, low, high, drift };
}

const describeAnchor = ({ file, row, mean, low, high }: AnchorSettings) => ({
  ...{ features: portablePath(file), row, mean, interval: [low, high] },
});

/** The settings that a result depends on, under the names that its header has them by. */
export const describeSampler = (settings: SamplerSettings): Record<string, unknown> => ({
  ...settings.sampler.describe(),
  cfg: settings.cfg,
  interval: [settings.guidanceLow, settings.guidanceHigh],
  guidance_channels: settings.guidanceChannels ?? 'all',
  ...(settings.internal
    ? { internal_cfg: settings.internal.scale, internal_interval: [settings.internal.low, settings.internal.high] }
    : {}),
  ...(settings.pathDropGuidance ? { path_drop_guidance: true } : {}),
  ...(settings.anchored ? { repa_guidance: settings.anchored.scale, anchor: describeAnchor(settings.anchored) } : {}),
  seed: settings.seed,
});
