/** Whether a run may continue from a checkpoint: how two records differ, and which differences forbid it. */
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { UsageError } from '../errors.js';
import { portablePath } from '../files/portable-path.js';
import { type Network, networkParameters } from '../repa/network.js';
import { meaningOf } from '../stream/meaning.js';
import type { RunRecord } from './record.js';

/** Every setting by its name: `model.depth`, `methods.repa.lambda`. */
function settingsOf({ architecture, model, methods, training }: RunRecord): Map<string, unknown> {
  const named = (prefix: string, values: object) =>
    Object.entries(values).map(([key, value]) => [`${prefix}.${key}`, value] as const);
  return new Map([
    ['model.architecture', architecture],
    ...named('model', model),
    ...Object.entries(methods).flatMap(([name, settings]) => named(`methods.${name}`, settings as object)),
    ...named('training', training),
  ]);
}

const CONTENT = '.content';

/** The facts of the data by name: their rows, their scale, and what their headers say of how the values were made. */
function dataOf({ latent, data }: RunRecord): Map<string, unknown> {
  const meaning = (prefix: string, { rows, metadata, content }: RunRecord['data']['latents']) => [
    [`${prefix}.rows`, rows] as const,
    [`${prefix}${CONTENT}`, content] as const,
    ...Object.entries(meaningOf(metadata)).map(([key, value]) => [`${prefix}.${key}`, value] as const),
  ];
  return new Map<string, unknown>([
    ['data.latent.scale', latent.scale],
    ['data.latent.shift', latent.shift],
    ...meaning('data.latents', data.latents),
    ...data.features.flatMap((features, i) => meaning(`data.features.${i + 1}`, features)),
    ...(data.text ? meaning('data.text', data.text) : []),
  ]);
}

/** Names of the settings in which two runs differ, as `model.depth (12, now 8)`, and of the data. */
export function differences(saved: RunRecord, wanted: RunRecord): string[] {
  // Weights from elsewhere do not tell what they were trained on.
  const isTold = saved.data.latents.rows > 0;
  const all = (record: RunRecord): Map<string, unknown> =>
    new Map([...settingsOf(record), ...(isTold ? dataOf(record) : [])]);
  const [before, after] = [all(saved), all(wanted)];
  return (
    [...new Set([...before.keys(), ...after.keys()])]
      .filter((key) => !isDeepStrictEqual(before.get(key), after.get(key)))
      // Older checkpoints do not tell what the rows hold.
      .filter((key) => !key.endsWith(CONTENT) || (before.get(key) !== undefined && after.get(key) !== undefined))
      .map((key) => `${key} (${JSON.stringify(before.get(key))}, now ${JSON.stringify(after.get(key))})`)
  );
}

/** Whether weights of the one network are weights of the other. */
export function haveSameParameters(a: Network, b: Network): boolean {
  const shapes = (network: Network) => [...networkParameters(network)].map(([name, { shape }]) => [name, shape]);
  return isDeepStrictEqual(shapes(a), shapes(b));
}

/** Whether a run has the averages that another is to go on with. */
const hasAverages = ({ training: { emaDecays } }: RunRecord, wanted: RunRecord): boolean =>
  wanted.training.emaDecays.every((average) => emaDecays.includes(average));

/**
 * Refuses to continue a run under other settings unless that was asked for; a model of another shape never fits.
 * @throws UsageError naming what differs
 */
export function checkContinuation(saved: RunRecord, wanted: RunRecord, folder: string, explicit: boolean): void {
  const changed = differences(saved, wanted);
  // The state of the optimiser and the averages fit only the same optimiser and averages.
  const isModel = (name: string): boolean =>
    /^(model\.|training\.optimizer )/.test(name) ||
    (name.startsWith('training.emaDecays ') && !hasAverages(saved, wanted)) ||
    (name.startsWith('methods.') && !haveSameParameters(saved, wanted));
  const ofModel = changed.filter(isModel);
  const blocking = explicit ? ofModel : changed;
  if (blocking.length === 0) return;
  throw new UsageError(
    `${folder} holds a run with other settings or data: ${blocking.join(', ')}`,
    ofModel.length > 0
      ? 'A checkpoint continues only with the same model and optimiser, and averages that it has. To start another model from its ' +
          `weights, choose another --out and add --init ${folder}.`
      : 'Choose another --out for a new run, or add --resume to continue this one with the new settings or data.',
  );
}

/**
 * The same command goes on with its run; another is not started from weights in the same folder.
 * @throws UsageError when the run in --out began otherwise than --init says
 */
export function checkOrigin({ origin }: RunRecord, { init, out }: { init?: string; out: string }): void {
  if (init === undefined || (origin?.by === 'init' && isWithin(origin.source, init))) return;
  const began = origin ? `from ${origin.source}` : 'with weights of its own';
  throw new UsageError(
    `${out} holds a run that began ${began}: it continues from its newest checkpoint, not from --init ${init}`,
    'Choose another --out for a new run, or drop --init to continue this one.',
  );
}

/** Whether `source` is the checkpoint of this name, or, of a folder of checkpoints, one that was its newest once. */
const isWithin = (source: string, name: string): boolean =>
  [portablePath(name), name].some((each) => source === each || path.dirname(source) === each);
