/** Options: measurements of a run while it trains. Those of sample and fid stand under a prefix. */
import { UsageError } from '../../errors.js';
import { integer, list, text } from '../../options/option.js';
import { options, pick, prefixed, type Values } from '../../options/table.js';
import { FEATURE_NETWORK, ONNX } from '../../pretrained/options.js';
import { SAMPLING } from '../../sampling/options.js';

interface Asked {
  evalEvery?: number;
  evalGrid: number;
  evalRef?: string;
}

const isSampled = {
  words: '--eval-every and --eval-grid',
  holds: ({ evalEvery, evalGrid, evalRef }: Asked): boolean =>
    evalEvery !== undefined && (evalGrid > 0 || evalRef !== undefined),
};

export const WHILE_TRAINING = options({
  evalEvery: integer('--eval-every <steps>', 'measure the moving average at every so many steps', { min: 1 }),
  evalGrid: integer('--eval-grid <n>', 'pictures, from the same noise each time, in --out/samples', {
    default: 16,
    needs: 'evalEvery',
  }),
  evalRef: text('--eval-ref <path>', 'reference that samples are compared with: images, or an .npz of statistics', {
    needs: 'evalEvery',
  }),
  evalNum: integer('--eval-num <n>', 'how many samples are compared', { min: 2, default: 5000, needs: 'evalRef' }),
  /** The network whose features are compared. */
  evalNetwork: {
    ...prefixed('eval', pick(FEATURE_NETWORK, 'net'), { needs: '--eval-ref' }),
    ...prefixed('eval-net', { ...pick(FEATURE_NETWORK, 'weights'), ...ONNX }, { needs: '--eval-ref' }),
  },
  evalSampler: prefixed('eval', pick(SAMPLING, 'mode', 'steps', 'cfg'), { needs: isSampled }),
  evalVaeWeights: text('--eval-vae-weights <file>', "decoder's weights", {
    defaultText: 'those of the codec that made the latents',
    needs: isSampled,
  }),
  evalVaeStatistics: text('--eval-vae-statistics <file>', 'statistics of its latents, of a decoder of encoder tokens', {
    needs: isSampled,
  }),
  evalText: text('--eval-text <path>', 'of an MM-DiT: prompts made by encode-text, which samples take turns with', {
    needs: isSampled,
  }),
  evalBatchSize: integer('--eval-batch-size <n>', 'images computed at a time while measuring', {
    min: 1,
    default: 16,
    needs: 'evalEvery',
  }),
  valLatents: text(
    '--val-latents <path>',
    'held-out latents, for the validation loss and a probe of the aligned block',
    {
      needs: 'evalEvery',
    },
  ),
  valFeats: list('--val-feats <paths>', 'features of the same images, for their losses and CKNNA', String, {
    needs: 'valLatents',
  }),
  valText: text('--val-text <path>', 'of an MM-DiT: captions of the same images', { needs: 'valLatents' }),
  valNum: integer('--val-num <n>', 'held-out images that are used, spread over all', {
    min: 20,
    default: 1024,
    needs: 'valLatents',
  }),
});

export type MonitorOptions = Values<typeof WHILE_TRAINING>;

/** How many pictures the sheet has, and how many images are sampled in all. */
export const sampleCounts = ({ evalGrid, evalRef, evalNum }: MonitorOptions) => ({
  pictures: evalGrid,
  compared: evalRef === undefined ? 0 : evalNum,
});

/** @throws UsageError where there is nothing to measure */
export function checkMeasures({ evalEvery, evalGrid, evalRef, valLatents }: MonitorOptions): void {
  if (evalEvery === undefined || evalGrid > 0 || evalRef !== undefined || valLatents !== undefined) return;
  throw new UsageError('--eval-every has nothing to measure', 'Give --eval-grid, --eval-ref or --val-latents.');
}
