/** Refuses networks whose parts, methods and data do not go together. */
import { UsageError } from '../errors.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { STATISTICS_KEY } from '../pretrained/codec.js';
import type { ActiveMethod } from '../repa/methods.js';
import type { TrainingSet } from './data/set.js';

/** @throws UsageError for parts that take one time for all channels, where some channels lead */
export function checkLead(active: readonly ActiveMethod[], { prediction, timeEmbedding }: TransformerConfig): void {
  const leading = active.find(({ method, settings }) => method.lead?.(settings));
  const other = active.find(({ method }) => method.tokenTimes);
  const option = prediction ? '--prediction' : timeEmbedding ? '--time-embedding' : other?.method.name;
  if (!leading || option === undefined) return;
  throw new UsageError(`${leading.method.name} gives channels two times, and ${option} takes one`, 'Drop one of them.');
}

/** @throws UsageError for tokens beside the patches in a network with a wide head, whose blocks see patches alone */
export function checkHead(active: readonly ActiveMethod[], { head }: TransformerConfig): void {
  const beside = active.find(({ method }) => method.companion);
  if (!head || !beside) return;
  throw new UsageError(
    `${beside.method.name} generates a token beside the patches, of which the blocks of --wide-head know nothing`,
    'Drop one of them.',
  );
}

/** @throws UsageError for what the geodesic path cannot take: values beside the latents, a prediction of clean data,
 * latents whose vectors differ in length */
export function checkSphere(
  active: readonly ActiveMethod[],
  { prediction }: TransformerConfig,
  { latents }: Pick<TrainingSet, 'latents'>,
): void {
  const other = active.find(({ method }) => method.companion || method.channels);
  if (other) {
    throw new UsageError(
      `--path geodesic is for latents alone, and ${other.method.name} generates more`,
      'Leave it out.',
    );
  }
  if (prediction)
    throw new UsageError('--path geodesic is for a network that predicts velocities', 'Drop --prediction.');
  if (latents.file.schema.metadata[STATISTICS_KEY] === undefined) return;
  throw new UsageError(
    '--path geodesic is for tokens as their norm leaves them, and these latents are standardised, position by position',
    'Encode them again with --statistics none.',
  );
}
