/**
 * TREAD (arXiv 2501.04765): in training a random share of each image's tokens skips the middle blocks, and comes back
 * after them unchanged. Checked against the published code, with the tokens that it drew: losses and gradients
 * (fixture published/tread).
 */
import { UsageError } from '../errors.js';
import { count, fields, numeric, type ShapeOf } from '../formats/json-shape.js';
import { blockPair, number } from '../options/option.js';
import { options } from '../options/table.js';
import { method } from './method.js';
import { type CountKept, drawRoute, joinTokens, partStream, type Route, routeOf, seenTokens } from './token-route.js';

const SETTINGS = fields({
  /** The share of an image's tokens that skip the blocks. */
  share: numeric,
  from: count,
  to: count,
});

const OPTIONS = options({
  route: number('--route <share>', 'share of the tokens that skip the middle blocks (TREAD: 0.5)', {
    min: 0,
    max: 0.99,
    default: 0,
  }),
  middleBlocks: blockPair('--middle-blocks <pair>', 'first and last of them, such as 3,24', {
    needs: ['--route', '--fusion'],
  }),
});

/**
 * The first and last of the middle blocks: as given, else all but `ends` blocks at the start and at the end.
 * @throws UsageError when there are no such blocks
 */
export function middleOf(
  given: readonly [number, number] | undefined,
  depth: number,
  ends: readonly [number, number],
): { from: number; to: number } {
  const [from, to] = given ?? [ends[0] + 1, depth - ends[1]];
  if (from >= 2 && from <= to && to < depth) return { from, to };
  throw new UsageError(
    `--middle-blocks ${from},${to}: not blocks in the middle of the model's ${depth}`,
    'The first and the last block see all tokens: name others, such as 3,10 of 12.',
  );
}

/** The number of tokens that skip is rounded down. */
export const keptOnRoute: CountKept = (tokens, share) => tokens - Math.trunc(tokens * share);

/** The paper leaves out the first 2 and the last 4 of 28 blocks; other depths in proportion. */
const endsOf = (depth: number): [number, number] => [
  Math.max(1, Math.round((2 * depth) / 28)),
  Math.max(1, Math.round((4 * depth) / 28)),
];

export const tread = method({
  name: 'tread',
  options: OPTIONS,
  presets: { tread: { lambda: 0.5, route: 0.5 } },
  settings: SETTINGS,
  isOn: ({ route }) => route > 0,
  settle: ({ route, middleBlocks }, { model: { depth } }): ShapeOf<typeof SETTINGS> => ({
    share: route,
    ...middleOf(middleBlocks, depth, endsOf(depth)),
  }),
  draws: (_, { tokens, training }) => ({ ...(training && { route: drawRoute(tokens) }) }),
  partial: ({ from, to }) => ({ from, to, option: '--route', range: '--middle-blocks' }),
  passage({ share, from, to }, _, { route: drawn }) {
    if (!drawn) return {}; // in sampling all tokens see all blocks
    const route: Route = routeOf(drawn, share, keptOnRoute);
    let all = {} as ReturnType<typeof partStream>;
    return {
      enter(stream, block) {
        if (block !== from) return stream;
        all = partStream(stream, route);
        return all.kept;
      },
      leave: ({ tokens, ...stream }, block) =>
        block === to ? { tokens: joinTokens(tokens, all.skipping, route), angles: all.angles } : { tokens, ...stream },
      seen: (values, block) => (from <= block && block <= to ? seenTokens(values, route) : values),
    };
  },
});
