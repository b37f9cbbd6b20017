/** Opens the data that the options of a run name. */
import { UsageError } from '../../errors.js';
import { inUse } from '../../options/resolve.js';
import { entriesOf, type Values } from '../../options/table.js';
import { chosenMethods, METHODS, type MethodValues } from '../../repa/methods.js';
import { openComputedFeatures } from './features.js';
import type { DATA } from './options.js';
import { PictureFile } from './pictures.js';
import { TrainingSet } from './set.js';

type DataOptions = Values<typeof DATA> & { methods: MethodValues };

/**
 * The data, with features that are stored or computed, or without where no method asks for them.
 * @param rows images whose features are computed at a time
 */
export async function openSet(options: DataOptions, rows: number): Promise<TrainingSet> {
  const { encoder, images } = options;
  const computes = encoder !== undefined && images !== undefined;
  const asked = chosenMethods(options.methods).some(({ features }) => features);
  const set = await TrainingSet.open(options.latents, asked && !computes ? options.feats : [], options);
  if (options.pixels !== undefined && !(set.latents.file instanceof PictureFile)) {
    throw new UsageError(
      `--pixels ${options.pixels}: ${options.latents} holds latents, not pictures`,
      'Drop it, or name pictures.',
    );
  }
  if (computes)
    set.computeFeatures(await openComputedFeatures({ ...options, encoder, images }, set.latents.file.keys(), rows));
  return set;
}

/** @throws UsageError for an encoder that no method follows, or one in place of features that have to be stored */
export function checkEncoder({ encoder, images, methods }: DataOptions): void {
  if (encoder === undefined) return;
  const chosen = chosenMethods(methods);
  const generating = chosen.filter(({ features }) => features === 'generated');
  if (generating.length > 0) {
    const flags = generating.map(({ name, options }) => inUse(options, methods[name])[0].long);
    throw new UsageError(
      `${flags.join(' and ')} need${flags.length === 1 ? 's' : ''} stored features`,
      'Give --feats in place of --encoder.',
    );
  }
  if (chosen.every(({ features }) => features !== 'followed')) {
    const [first] = METHODS.filter(({ features }) => features === 'followed').flatMap(({ options }) =>
      entriesOf(options),
    );
    throw new UsageError(`--encoder does nothing without ${first.option.long}`);
  }
  if (images === undefined) throw new UsageError('--encoder does nothing without --images');
}
