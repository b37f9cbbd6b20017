/**
 * SPRINT (arXiv 2510.21986): what comes out of the middle blocks is joined with what went in, and in training most tokens skip
 * them: a learned mask token stands in their place. Some images leave the middle out wholly. From the paper; not checked
 * against code.
 */
import { uniforms } from '../diffusion/draws.js';
import { tf } from '../engine/index.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { linearPlan } from '../models/start.js';
import { dense, type Parameters, parameter } from '../nn/layers.js';
import { PURPOSE } from '../numbers/random.js';
import { flag, number } from '../options/option.js';
import { options } from '../options/table.js';
import { method } from './method.js';
import { type CountKept, drawRoute, joinTokens, partStream, routeOf, seenTokens } from './token-route.js';
import { middleOf, tread } from './tread.js';

const SETTINGS = fields({
  /** The share of an image's tokens that skip the blocks. */
  share: numeric,
  from: count,
  to: count,
  /** Chance that an image's middle blocks are left out. */
  pathDrop: numeric,
});

/** Those that are kept are rounded down; one is at least. */
export const keptInMiddle: CountKept = (tokens, share) => Math.max(1, Math.trunc(tokens * (1 - share)));

/** The paper's split: all but two blocks at either end. */
const ENDS = [2, 2] as const;

/**
 * The sum of two linear maps, of what went in and of what came out of the middle, both [B, T, D]: [B, T, D]. An image whose
 * `pathKept` [B] is 0 has the mask token for all of the latter.
 */
function fuse(p: Parameters, entered: tf.Tensor, left: tf.Tensor, pathKept: tf.Tensor | undefined): tf.Tensor {
  const mask = parameter(p, 'mask_token'); // [1, 1, D]
  const middle = pathKept
    ? tf.add(mask, tf.mul(tf.reshape(pathKept, [-1, 1, 1]), tf.sub(left, mask))) // [B, T, D]
    : left;
  return dense(p, 'fusion_proj', tf.concat([entered, middle], 2)); // [B, T, D]
}

export const sprint = method({
  name: 'sprint',
  options: options({
    fusion: flag('--fusion', 'join what comes out of the middle blocks with what went in (SPRINT, with --route 0.75)'),
    pathDrop: number('--path-drop <p>', 'chance that they are left out for an image (SPRINT: 0.05)', {
      min: 0,
      max: 1,
      default: 0,
      needs: 'fusion',
    }),
  }),
  // The first stage, at the end of the dense blocks.
  presets: { sprint: { lambda: 0.5, 'align-depth': 2, route: 0.75, fusion: true, 'path-drop': 0.05 } },
  settings: SETTINGS,
  isOn: ({ fusion }) => fusion === true,
  replaces: [tread.name],
  settle({ pathDrop }, { model: { depth }, valuesOf }): ShapeOf<typeof SETTINGS> {
    const { route, middleBlocks } = valuesOf(tread);
    return { share: route, ...middleOf(middleBlocks, depth, ENDS), pathDrop };
  },
  recognise: (shapes, { depth }) =>
    shapes.has('fusion_proj.weight') ? { share: 0, from: ENDS[0] + 1, to: depth - ENDS[1], pathDrop: 0 } : undefined,
  parameters: (_, { model: { hiddenSize } }) => [
    ['mask_token', { shape: [1, 1, hiddenSize], start: 'zeros' }],
    ...linearPlan('fusion_proj', hiddenSize, 2 * hiddenSize, 'xavier'),
  ],
  draws: ({ share, pathDrop }, { tokens, training }) => ({
    ...(training && share > 0 && { route: drawRoute(tokens) }),
    ...(training && pathDrop > 0 && { pathKept: uniforms(PURPOSE.pathDrop, (chance) => (chance < pathDrop ? 0 : 1)) }),
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
        const masks = () => tf.tile(parameter(p, 'mask_token'), [skipping.shape[0], skipping.shape[1]!, 1]); // [B, T - K, D]
        const left = route ? joinTokens(stream.tokens, masks(), route) : stream.tokens; // [B, T, D]
        return { tokens: fuse(p, tokens, left, pathKept), angles };
      },
      seen: (values, block) => (route && from <= block && block <= to ? seenTokens(values, route) : values),
    };
  },
});
