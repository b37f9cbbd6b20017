/**
 * SPRINT (arXiv 2510.21986): what comes out of the middle blocks is joined with what went in, and in training most
 * tokens skip them: a mask token stands in their place. Some images leave the middle out wholly, which sampling can
 * guide away from. SR-DiT (arXiv 2512.12386) has a variant of it. Checked against the published code of both: outputs,
 * guided ones too, losses and gradients (fixtures published/sprint and published/sr-dit).
 *
 * The published SPRINT keeps one token at random of each square of four, drops the path of each image by itself, and
 * has a mask token that is not trained; SR-DiT keeps a random quarter, drops the path of a whole batch, and trains the
 * token. The columns of `fusion_proj` are here those of what went in, then those of what came out, as in SR-DiT; SPRINT
 * has them the other way round.
 */
import { uniforms } from '../diffusion/draws.js';
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, later, numeric, oneOf, type ShapeOf, truth } from '../formats/json-shape.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import type { Passage, Stream } from '../models/passage.js';
import { linearPlan } from '../models/start.js';
import { dense, type Parameters, parameter } from '../nn/layers.js';
import { fillUniform, PURPOSE } from '../numbers/random.js';
import { choice, flag, number } from '../options/option.js';
import { options } from '../options/table.js';
import { type Draw, method } from './method.js';
import { reg } from './reg.js';
import {
  type CountKept,
  drawGroupedRoute,
  drawRoute,
  groupsOf,
  joinTokens,
  partStream,
  routeOf,
  seenTokens,
} from './token-route.js';
import { middleOf, tread } from './tread.js';

const SETTINGS = fields({
  /** The share of an image's tokens that skip the blocks. */
  share: numeric,
  /** Whether they are drawn in each square of tokens by itself. */
  groups: later(truth, false),
  from: count,
  to: count,
  /** Chance that the middle blocks are left out. */
  pathDrop: numeric,
  /** Whether that is drawn for each image, or for all images of a step at once. */
  pathDropOf: later(oneOf('image', 'step'), 'image'),
  maskToken: later(oneOf('learned', 'fixed'), 'learned'),
});

type Settings = ShapeOf<typeof SETTINGS>;

/** The published split: all but two blocks at either end. */
const ENDS = [2, 2] as const;

/** The number of tokens kept is rounded down, and at least 1. */
export const keptInMiddle: CountKept = (tokens, share) => Math.max(1, Math.trunc(tokens * (1 - share)));

/**
 * The sum of two linear maps, of what went in and of what came out of the middle, both [B, T, D]: [B, T, D]. An image
 * whose `pathKept` [B] is 0 has the mask token for all of the latter.
 */
function fuse(p: Parameters, entered: tf.Tensor, left: tf.Tensor, pathKept: tf.Tensor | undefined): tf.Tensor {
  const mask = parameter(p, 'mask_token'); // [1, 1, D]
  const middle = pathKept
    ? tf.add(mask, tf.mul(tf.reshape(pathKept, [-1, 1, 1]), tf.sub(left, mask))) // [B, T, D]
    : left;
  return dense(p, 'fusion_proj', tf.concat([entered, middle], 2)); // [B, T, D]
}

/** `count` mask tokens for each image of `like` [B, ...]: [B, count, D]. */
const masks = (p: Parameters, like: tf.Tensor, count: number): tf.Tensor =>
  tf.tile(parameter(p, 'mask_token'), [like.shape[0], count, 1]);

/** Draws for each image, or for all at once, 0 if the path is left out, else 1: [B]. */
function pathDraw(pathDrop: number, of: Settings['pathDropOf']): Draw {
  const kept = (chance: number): number => (chance < pathDrop ? 0 : 1);
  if (of === 'image') return uniforms(PURPOSE.pathDrop, kept);
  return {
    shape: [],
    dtype: 'float32',
    values({ rows, seed, step }) {
      const chance = new Float32Array(1);
      fillUniform(chance, seed, PURPOSE.pathDrop, 0, step);
      return new Float32Array(rows).fill(kept(chance[0]));
    },
  };
}

const columnsOf = ({ inputSize, patchSize }: TransformerConfig): number => inputSize / patchSize;

/** @throws UsageError for squares that do not tile the tokens, or of which that share is no whole number of tokens */
function checkGroups(share: number, model: TransformerConfig, hasClassToken: boolean): void {
  if (hasClassToken) {
    throw new UsageError('--route-groups are squares of patches, and --class-token is none', 'Drop one of them.');
  }
  const groups = groupsOf(share);
  if (!groups) throw new UsageError(`--route-groups: ${share} of 2 x 2 or of 4 x 4 tokens is no whole number of them`);
  if (columnsOf(model) % groups.side === 0) return;
  throw new UsageError(
    `--route-groups of ${groups.side} x ${groups.side} do not tile ${columnsOf(model)} x ${columnsOf(model)} tokens`,
    'Change --patch-size or --route.',
  );
}

/** The parts of the published network besides the method. */
const NETWORK = {
  ...{ rotary: true, positions: 'none', 'qk-norm': true, 'qk-norm-kind': 'rms', time: 'lognormal' },
} as const;

/** The published first stage, with REPA. */
const FIRST_STAGE = {
  ...NETWORK,
  ...{ lambda: 0.5, 'align-depth': 7 },
  ...{ route: 0.75, 'route-groups': true, fusion: true, 'path-drop': 0.1, 'mask-token': 'fixed' },
} as const;

export const sprint = method({
  name: 'sprint',
  options: options({
    fusion: flag('--fusion', 'join what comes out of the middle blocks with what went in (SPRINT, with --route 0.75)'),
    pathDrop: number('--path-drop <p>', 'chance that they are left out (SPRINT: 0.1)', {
      min: 0,
      max: 1,
      default: 0,
      needs: 'fusion',
    }),
    pathDropOf: choice('--path-drop-of <what>', 'each image by itself, or all of a step (SR-DiT)', ['image', 'step'], {
      default: 'image',
      needs: 'pathDrop',
    }),
    routeGroups: flag('--route-groups', 'of each square of 2 x 2 tokens as many skip, at random (SPRINT)', {
      needs: 'fusion',
    }),
    maskToken: choice(
      '--mask-token <kind>',
      'what stands for tokens that skip: is learned, or fixed (SPRINT)',
      ['learned', 'fixed'],
      { default: 'learned', needs: 'fusion' },
    ),
  }),
  presets: {
    sprint: FIRST_STAGE,
    // Continues the first stage with all tokens.
    'sprint-2': { ...FIRST_STAGE, route: 0, 'batch-size': 1024, lr: 2e-4, warmup: 5000 },
  },
  settings: SETTINGS,
  isOn: ({ fusion }) => fusion === true,
  replaces: [tread.name],
  settle({ pathDrop, pathDropOf, routeGroups = false, maskToken }, { model, valuesOf }): Settings {
    const { route, middleBlocks } = valuesOf(tread);
    if (routeGroups && route > 0) checkGroups(route, model, valuesOf(reg).classToken > 0);
    const middle = middleOf(middleBlocks, model.depth, ENDS);
    return { share: route, groups: routeGroups && route > 0, ...middle, pathDrop, pathDropOf, maskToken };
  },
  recognise: (shapes, { depth }): Settings | undefined =>
    shapes.has('fusion_proj.weight')
      ? {
          ...{ share: 0, groups: false, from: ENDS[0] + 1, to: depth - ENDS[1] },
          ...{ pathDrop: 0, pathDropOf: 'image', maskToken: 'learned' },
        }
      : undefined,
  parameters: ({ maskToken }, { model: { hiddenSize } }) => [
    maskToken === 'fixed'
      ? ['mask_token', { shape: [1, 1, hiddenSize], start: 'normal', fixed: true }]
      : ['mask_token', { shape: [1, 1, hiddenSize], start: 'zeros' }],
    ...linearPlan('fusion_proj', hiddenSize, 2 * hiddenSize, 'xavier'),
  ],
  draws: ({ share, groups, pathDrop, pathDropOf }, { model, tokens, training }) => ({
    ...(training &&
      share > 0 && { route: groups ? drawGroupedRoute(columnsOf(model), groupsOf(share)!) : drawRoute(tokens) }),
    ...(training && pathDrop > 0 && { pathKept: pathDraw(pathDrop, pathDropOf) }),
  }),
  partial: ({ share, from, to }) => (share > 0 ? { from, to, option: '--route', range: '--middle-blocks' } : undefined),
  passage({ share, from, to }, p, { route: drawn, pathKept }) {
    const route = drawn && routeOf(drawn, share, keptInMiddle);
    let entered: { tokens: tf.Tensor } & ReturnType<typeof partStream>;
    return {
      enter(stream, block) {
        if (block !== from) return stream;
        const parted = route
          ? partStream(stream, route)
          : { kept: stream, skipping: stream.tokens, angles: stream.angles };
        entered = { tokens: stream.tokens, ...parted };
        return parted.kept;
      },
      leave(stream, block) {
        if (block !== to) return stream;
        const { tokens, skipping, angles } = entered;
        const left = route ? joinTokens(stream.tokens, masks(p, skipping, skipping.shape[1]!), route) : stream.tokens; // [B, T, D]
        return { tokens: fuse(p, tokens, left, pathKept), angles };
      },
      seen: (values, block) => (route && from <= block && block <= to ? seenTokens(values, route) : values),
    };
  },
  weakened: ({ from, to }, p): Passage => ({
    skips: (block) => from <= block && block <= to,
    leave({ tokens, ...stream }, block): Stream {
      const fused = () => fuse(p, tokens, masks(p, tokens, tokens.shape[1]!), undefined); // [B, T, D]
      return { ...stream, tokens: block === to ? fused() : tokens };
    },
  }),
});
