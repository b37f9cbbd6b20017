/** How images are sampled: what was asked for, settled for a model, and told in the header of the result. */
import { type SettledSampler, settle } from '../diffusion/samplers/index.js';
import { UsageError } from '../errors.js';
import { type AnchorSettings, describeAnchor, settleAnchor } from './anchor.js';
import { describeInternal, type InternalGuidance, settleInternal } from './internal-guidance.js';
import type { DiffusionModel } from './model.js';
import type { SamplerOptions } from './options.js';
import { settlePathDrop } from './path-drop.js';

export interface SamplerSettings {
  sampler: SettledSampler;
  cfg: number;
  guidanceLow: number;
  guidanceHigh: number;
  /** Only the first channels are guided; undefined for all. */
  guidanceChannels: number | undefined;
  /** Further guidance. */
  internal?: InternalGuidance;
  pathDropGuidance?: boolean;
  anchored?: AnchorSettings;
  seed: number;
}

/**
 * The samplers of DiT and the original SiT guide 3 of 4 channels, and no variance: their published numbers hold that.
 */
const GUIDED_WITH_VARIANCE = 3;

/**
 * The sampler of a model: what was asked for, else what its authors sample it with.
 * @throws UsageError for a mode that is not for this architecture, an option that is not for this mode, or guidance
 *   that could not guide
 */
export function settleSampler({ record, source }: DiffusionModel, options: SamplerOptions): SamplerSettings {
  const { path, timeShift = 1 } = record.training;
  const sampler = settle(record.architecture, { path, timeShift }, options);
  const { cfg, guidanceLow = 0, guidanceHigh = 1, guideCkpt, seed } = options;
  const isGuided = cfg > 1;
  if (isGuided && guidanceLow > guidanceHigh) {
    throw new UsageError(
      `nothing would be guided: --guidance-low ${guidanceLow} is above --guidance-high ${guidanceHigh}`,
    );
  }
  checkLead(record, options);
  if (isGuided && guideCkpt === undefined) checkGuidable(record, source);
  const predictsVariance = record.model.outChannels === 2 * record.model.inChannels;
  return {
    sampler,
    cfg,
    // An interval in which nothing is guided is no fact about the samples.
    guidanceLow: isGuided ? guidanceLow : 0,
    guidanceHigh: isGuided ? guidanceHigh : 1,
    guidanceChannels: options.guidanceChannels ?? (predictsVariance ? GUIDED_WITH_VARIANCE : undefined),
    internal: settleInternal(options, record, source),
    pathDropGuidance: settlePathDrop(options, record, source),
    anchored: settleAnchor(options, record, source),
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
function checkGuidable({ model, data, training }: DiffusionModel['record'], source: string): void {
  const missing =
    (!model.nullClass && 'has no null class, which --cfg guides away from: its label table has classes alone') ||
    (data.labelled === 0 && 'was trained on images without labels: --cfg has no class to guide towards') ||
    (training.labelDropout === 0 &&
      'was trained with --label-dropout 0: it knows no images without label, which --cfg guides away from');
  if (!missing) return;
  throw new UsageError(
    `${source} ${missing}`,
    'Sample with --cfg 1, or guide by another checkpoint with --guide-ckpt.',
  );
}

/** The settings that a result depends on, under the names that its header has them by. */
export const describeSampler = (settings: SamplerSettings): Record<string, unknown> => ({
  ...settings.sampler.describe(),
  cfg: settings.cfg,
  interval: [settings.guidanceLow, settings.guidanceHigh],
  guidance_channels: settings.guidanceChannels ?? 'all',
  ...(settings.internal && describeInternal(settings.internal)),
  ...(settings.pathDropGuidance && { path_drop_guidance: true }),
  ...(settings.anchored && describeAnchor(settings.anchored)),
  seed: settings.seed,
});
