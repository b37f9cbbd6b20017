/** What is said of a run before its first step. */
import { freeBytes, showBytes } from '../files/space.js';
import type { ParameterStore } from '../optim/index.js';
import { STATISTICS_KEY } from '../pretrained/codec.js';
import { isTokenCodec } from '../pretrained/token-codec.js';
import { describeOrigin } from './initial-weights.js';
import type { RunPlan } from './plan.js';
import { checkpointBytes } from './store.js';

/** Notes on latents that do not suit the path between data and noise. */
function latentNotes({ training: { path }, data: { latents } }: RunPlan['record']): string[] {
  const { 'repa.model': codec, [STATISTICS_KEY]: statistics } = latents.metadata;
  if (codec === undefined) return [];
  if (path === 'geodesic' && !isTokenCodec(codec)) {
    return [`note: --path geodesic is for encoder tokens, which are all of one length: these latents are of ${codec}`];
  }
  if (path === 'geodesic' || !isTokenCodec(codec) || statistics !== undefined) return [];
  return [
    `note: these latents are the tokens of ${codec} as they are: encode them with --statistics, or train with --path geodesic`,
  ];
}

/** What is trained, on what, and from where: one line each. */
export function announcement(
  { set, record, checkpoint, initial }: RunPlan,
  store: Pick<ParameterStore, 'parameters'>,
  { out, steps, keep }: { out: string; steps: number; keep: number },
): string[] {
  const weights = store.parameters.reduce((sum, { value }) => sum + value.length, 0);
  const millions = (weights / 1e6).toFixed(1);
  const unlabelled = set.rows - set.latents.labelled;
  const [size, free] = [checkpointBytes(record, store), freeBytes(out)];
  const short = (keep + 1) * size > free ? ', too little' : '';
  return [
    `${record.architecture} of ${millions}M parameters on ${set.rows} images of ${set.latents.shape.join('x')}`,
    ...(unlabelled > 0
      ? [`${unlabelled} of ${set.rows} images have no label: they are trained as the null class`]
      : []),
    ...latentNotes(record),
    ...(initial ? describeOrigin(record, initial) : []),
    ...(checkpoint ? [`continuing ${checkpoint}`] : []),
    `weights, gradients and averages take ${showBytes(size + weights * Float32Array.BYTES_PER_ELEMENT)} of memory, and a step what it computes`,
    `a checkpoint takes ${showBytes(size)}, and ${keep} are kept: ${showBytes(free)} are free${short}`,
    ...(record.step >= steps
      ? [`${out} is trained to step ${record.step} already: no steps up to --steps ${steps}`]
      : []),
  ];
}
