/** What the options of `repa train` ask to be measured on the way. */
import { UsageError } from '../errors.js';
import type { InputNormalisation } from '../pretrained/onnx-encoder.js';
import type { SamplerOptions } from '../sampling/settings.js';
import { checkNeeds } from '../training/option-needs.js';

export interface MonitorOptions {
  /** Steps between measurements; undefined for none. */
  evalEvery?: number;
  /** Pictures of the sheet. */
  evalGrid?: number;
  /** Images, or statistics, that samples are compared with. */
  evalRef?: string;
  /** Samples that are compared. */
  evalNum?: number;
  /** The network whose features are compared. */
  evalNet?: string;
  evalNetWeights?: string;
  evalNetOutput?: string;
  evalNetNormalise?: InputNormalisation;
  evalVaeWeights?: string;
  evalMode?: SamplerOptions['mode'];
  evalSteps?: number;
  evalCfg?: number;
  evalBatchSize?: number;
  /** Held-out latents, and features of the same images. */
  valLatents?: string;
  valFeats?: string[];
  /** Rows of them that are used. */
  valNum?: number;
}

export const DEFAULT_GRID = 16;
export const DEFAULT_NUM = 5000;
export const DEFAULT_VAL_NUM = 1024;
export const DEFAULT_BATCH = 16;

/** How many pictures the sheet has, and how many images are sampled in all. */
export function sampleCounts({ evalGrid = DEFAULT_GRID, evalRef, evalNum = DEFAULT_NUM }: MonitorOptions) {
  return { pictures: evalGrid, compared: evalRef === undefined ? 0 : evalNum };
}

/** @throws UsageError for an option without the one that it belongs to, or nothing to measure */
export function checkMonitorOptions(options: MonitorOptions): void {
  const { evalEvery, evalGrid, evalRef, valLatents } = options;
  const { pictures, compared } = sampleCounts(options);
  const isGiven = (name: keyof MonitorOptions): boolean => options[name] !== undefined;
  const timed: [option: string, name: keyof MonitorOptions][] = [
    ['--eval-grid', 'evalGrid'],
    ['--eval-ref', 'evalRef'],
    ['--eval-batch-size', 'evalBatchSize'],
    ['--val-latents', 'valLatents'],
  ];
  const compares: typeof timed = [
    ['--eval-num', 'evalNum'],
    ['--eval-net', 'evalNet'],
    ['--eval-net-weights', 'evalNetWeights'],
    ['--eval-net-output', 'evalNetOutput'],
    ['--eval-net-normalise', 'evalNetNormalise'],
  ];
  const samples: typeof timed = [
    ['--eval-mode', 'evalMode'],
    ['--eval-steps', 'evalSteps'],
    ['--eval-cfg', 'evalCfg'],
    ['--eval-vae-weights', 'evalVaeWeights'],
  ];
  const isSampled = evalEvery !== undefined && pictures + compared > 0;
  checkNeeds([
    ...timed.map(([option, name]) => [option, isGiven(name), '--eval-every', evalEvery !== undefined] as const),
    ...compares.map(([option, name]) => [option, isGiven(name), '--eval-ref', evalRef !== undefined] as const),
    ...samples.map(([option, name]) => [option, isGiven(name), '--eval-every and --eval-grid', isSampled] as const),
    ['--val-feats', isGiven('valFeats'), '--val-latents', valLatents !== undefined],
    ['--val-num', isGiven('valNum'), '--val-latents', valLatents !== undefined],
  ]);
  if (evalEvery !== undefined && evalGrid === 0 && evalRef === undefined && valLatents === undefined) {
    throw new UsageError('--eval-every has nothing to measure', 'Give --eval-grid, --eval-ref or --val-latents.');
  }
}
