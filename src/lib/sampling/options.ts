/**
 * The options of verbs that take a trained diffusion model: where it is, which of its weights, and how it is sampled.
 */
import { TRAINING_PATHS } from '../diffusion/interpolant.js';
import { SAMPLER_OPTIONS } from '../diffusion/samplers/index.js';
import { parseAverage } from '../optim/average.js';
import { choice, flag, integer, number, parsed, text } from '../options/option.js';
import { options, type Values } from '../options/table.js';

/** What a checkpoint file of the official code may leave open. */
export const CHECKPOINT_FILE = options({
  model: text(
    '--model <name>',
    'what a checkpoint file holds, where its tensors do not tell: SiT-XL/2, DiT-XL/2, SiT, DiT',
  ),
  heads: integer('--heads <n>', 'attention heads of a checkpoint file', {
    min: 1,
    defaultText: 'those of the published model of its width',
  }),
  numClasses: integer('--num-classes <n>', 'classes of a checkpoint file, whose label table may have no null class', {
    min: 1,
    defaultText: 'as it says, or one less than the table has rows',
  }),
  key: text(
    '--key <path>',
    'where the weights lie in a checkpoint file that holds several sets: ema, state_dict.model',
    {
      defaultText: 'the moving average, or the only set',
    },
  ),
  path: choice('--path <name>', 'path that a checkpoint file was trained on', TRAINING_PATHS, {
    defaultText: 'as it says, or linear',
  }),
});

/** Which weights of a checkpoint. */
export const WEIGHTS = options({
  raw: flag('--raw', 'the weights themselves, not their moving average', { conflicts: ['ema'] }),
  ema: parsed(
    '--ema <average>',
    'the moving average of this decay, such as 0.9999, or width: sigma:0.05',
    parseAverage,
    {
      defaultText: 'the first that was trained',
    },
  ),
});

/** A trained diffusion model. */
export const DIFFUSION_MODEL = options({
  ckpt: text(
    '--ckpt <path>',
    'a training folder, one checkpoint in it, a file of the official code (.pt, .safetensors), or a name that was pulled',
    { default: 'ckpt' },
  ),
  ...CHECKPOINT_FILE,
  ...WEIGHTS,
});

const isGuidedInside = {
  words: 'an --internal-cfg above 1',
  holds: ({ internalCfg }: { internalCfg: number }) => internalCfg > 1,
};
const isGuided = { words: 'a --cfg above 1', holds: ({ cfg }: { cfg: number }) => cfg > 1 };

/** How it is sampled. */
export const SAMPLING = options({
  ...SAMPLER_OPTIONS,
  cfg: number('--cfg <w>', 'classifier-free guidance; 1 is none', { min: 1, default: 1 }),
  guidanceLow: number('--guidance-low <t>', 'guide only from this time', { min: 0, max: 1, default: 0 }),
  guidanceHigh: number('--guidance-high <t>', 'guide only up to this time', { min: 0, max: 1, default: 1 }),
  guidanceChannels: integer('--guidance-channels <n>', 'guide only the first n channels', {
    min: 1,
    defaultText: 'all; 3 of DiT and of the original SiT',
  }),
  guideCkpt: text(
    '--guide-ckpt <path>',
    'autoguidance: guide by a weaker checkpoint, in place of the model without label',
    { needs: isGuided },
  ),
  pathDropGuidance: flag(
    '--path-drop-guidance',
    'guide by the model without label and without its middle blocks, if trained with --fusion (SPRINT, with --cfg 3)',
    { needs: isGuided, conflicts: ['guideCkpt'] },
  ),
  repaGuidance: number(
    '--repa-guidance <lambda>',
    "draw samples to the anchor, through REPA's projector (REPA-G: 50000 with --mode sde --steps 250); 0 is not at all",
    { min: 0, default: 0, needs: { words: '--anchor', holds: ({ anchor }) => anchor !== undefined } },
  ),
  anchor: text('--anchor <features>', 'a stream of features, of which one image is the anchor', {
    needs: { words: 'a --repa-guidance above 0', holds: ({ repaGuidance }) => repaGuidance > 0 },
  }),
  anchorRow: integer('--anchor-row <n>', 'its row, 0 is the first', { default: 0, needs: 'anchor' }),
  anchorMean: flag('--anchor-mean', 'be like the mean of its tokens, wherever they are', { needs: 'anchor' }),
  internalCfg: number(
    '--internal-cfg <w>',
    'guidance by the early head of a model that was trained with --internal; 1 is none',
    {
      min: 1,
      default: 1,
    },
  ),
  internalLow: number('--internal-low <t>', 'guide by it only from this time', {
    min: 0,
    max: 1,
    default: 0,
    needs: isGuidedInside,
  }),
  internalHigh: number('--internal-high <t>', 'guide by it only up to this time', {
    min: 0,
    max: 1,
    default: 1,
    needs: isGuidedInside,
  }),
});

/** What the command line says; the rest is as the model's authors sample it. */
export type SamplerOptions = Partial<Values<typeof SAMPLING>> & { cfg: number; seed: number };
