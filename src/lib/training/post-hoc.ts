/**
 * Post-hoc averages (arXiv 2312.02696, section 3.2 and algorithm 3): averages of the weights along powers of the time
 * are kept at several times, and a mixture of them is an average of any other width. Checked against the published code
 * (fixture published/post-hoc-ema). Time is counted in images, as there.
 */
import path from 'node:path';
import { DataError, MissingInputError, UsageError } from '../errors.js';
import { type HostTensor, toFloat32 } from '../formats/host-tensor.js';
import type { LazyTensor, SafetensorsFile } from '../formats/safetensors.js';
import { solve } from '../linalg/solve.js';
import { firstNonFinite } from '../numbers/finite.js';
import { halfFromFloat } from '../numbers/half.js';
import { type Average, type Profile, powerAverage, profileProduct, sigmaOf } from '../optim/average.js';
import {
  averagePart,
  checkpointSteps,
  findCheckpoint,
  hasPart,
  openCheckpointPart,
  readCheckpointRecord,
  saveCheckpoint,
  stepFolder,
} from './checkpoint.js';
import { checkContinuation, haveSameParameters } from './continuation.js';
import type { RunRecord } from './record.js';

/** Where a training folder keeps its averages of earlier steps: a folder a step, laid out as a checkpoint. */
const snapshotFolder = (run: string): string => path.join(run, 'averages');

// --------------------------------------------------------------------------------------------------------- in training

type Parts = ReadonlyMap<string, Iterable<readonly [string, HostTensor | LazyTensor]>>;

const powerParts = ({ training: { emaDecays } }: RunRecord): { average: Average; part: string }[] =>
  emaDecays.flatMap((average, i) =>
    sigmaOf(average) === undefined ? [] : [{ average, part: averagePart(emaDecays, i) }],
  );

/**
 * Keeps the averages along powers of the time of a step, apart from its checkpoint, which is removed later.
 * @throws UnavailableError when the disk is full
 */
export function saveSnapshot(run: string, record: RunRecord, parts: Parts, dtype: 'f16' | 'f32'): void {
  const kept = powerParts(record).map(({ part }) => [part, inType(parts.get(part)!, dtype)] as const);
  if (kept.length > 0) saveCheckpoint(snapshotFolder(run), record, new Map(kept), Number.POSITIVE_INFINITY);
}

const inType = (tensors: Parts extends ReadonlyMap<string, infer T> ? T : never, dtype: 'f16' | 'f32') =>
  [...tensors].map(([name, tensor]): [string, HostTensor | LazyTensor] => {
    if (dtype === 'f32') return [name, tensor];
    const { data } = tensor as HostTensor;
    return [name, { shape: tensor.shape, dtype, load: () => halfFromFloat(data as Float32Array) }];
  });

/** @throws UsageError when a run that is about to start would add its averages to those of another */
export function checkSnapshots(run: string, record: RunRecord): void {
  const folder = snapshotFolder(run);
  const newest = checkpointSteps(folder).at(-1);
  if (newest === undefined || powerParts(record).length === 0) return;
  checkContinuation(readCheckpointRecord(stepFolder(folder, newest)), record, folder, false);
}

// ------------------------------------------------------------------------------------------------------ from then on

/** An average that was kept at a step. */
export interface Snapshot extends Profile {
  /** Its checkpoint, and its file there. */
  folder: string;
  part: string;
}

/**
 * The weights [N] of the mixture of `kept` profiles that is nearest to `wanted`; they add up to 1.
 * @throws DataError when there is none
 */
export function mixtureOf(kept: readonly Profile[], wanted: Profile): Float64Array {
  const n = kept.length;
  const products = Float64Array.from({ length: n * n }, (_, i) => profileProduct(kept[Math.floor(i / n)], kept[i % n]));
  const toWanted = Float64Array.from(kept, (each) => profileProduct(each, wanted));
  const shares = solve({ rows: n, columns: n, data: products }, toWanted);
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

/** How far a mixture is from the wanted profile, relative to the norm of that profile. */
export function misfitOf(kept: readonly Profile[], shares: Float64Array, wanted: Profile): number {
  const own = profileProduct(wanted, wanted);
  let squared = own;
  kept.forEach((a, i) => {
    squared -= 2 * shares[i] * profileProduct(a, wanted);
    kept.forEach((b, j) => {
      squared += shares[i] * shares[j] * profileProduct(a, b);
    });
  });
  return Math.sqrt(Math.max(0, squared) / own);
}

export interface PostHocOptions {
  sigmaRel: number;
  /** The time of the average; default the newest that was kept. */
  step?: number;
  /** Where the checkpoint goes. */
  out: string;
  onTensor?(): void;
}

export interface PostHocAverage {
  folder: string;
  step: number;
  /** How many averages were mixed. */
  mixed: number;
  misfit: number;
}

/**
 * Writes the average of width `sigmaRel` of a run as a checkpoint that holds nothing else.
 * @throws MissingInputError when the run kept no such averages; UsageError for a step that it did not keep, or when
 *   `out` holds another checkpoint; DataError when they are not all of one network, or damaged
 */
export function writePostHocAverage(run: string, { sigmaRel, step, out, onTensor }: PostHocOptions): PostHocAverage {
  const { kept, record } = readSnapshots(run, step);
  const wanted = { time: record.images, sigma: sigmaRel };
  const shares = mixtureOf(kept, wanted);
  const result: RunRecord = { ...record, training: { ...record.training, emaDecays: [powerAverage(sigmaRel)] } };
  checkFree(out, result);
  const files = kept.map(({ folder, part }) => openCheckpointPart(folder, part));
  try {
    const tensors = files[0].names.map((name): [string, LazyTensor] => {
      const load = (): Float32Array => {
        onTensor?.();
        return mixTensor(files, shares, name);
      };
      return [name, { shape: files[0].info(name).shape, dtype: 'f32', load }];
    });
    const folder = saveCheckpoint(out, result, new Map([[averagePart(result.training.emaDecays, 0), tensors]]), 1);
    return { folder, step: record.step, mixed: kept.length, misfit: misfitOf(kept, shares, wanted) };
  } finally {
    for (const file of files) file.close();
  }
}

/** One tensor of the mixture, summed in f64. */
function mixTensor(files: readonly SafetensorsFile[], shares: Float64Array, name: string): Float32Array {
  let sum: Float64Array | undefined;
  files.forEach((file, i) => {
    const data = toFloat32(file.read(name));
    sum ??= new Float64Array(data.length);
    for (let j = 0; j < data.length; j++) sum[j] += shares[i] * data[j];
  });
  const average = Float32Array.from(sum!);
  if (firstNonFinite(average) >= 0) {
    throw new DataError(
      `the average of '${name}' is not finite: one that was kept is not`,
      'Take the averages of the run from a copy.',
    );
  }
  return average;
}

/** The averages up to a step, and the record of that step. */
function readSnapshots(run: string, wanted: number | undefined): { kept: Snapshot[]; record: RunRecord } {
  const folder = snapshotFolder(run);
  const steps = checkpointSteps(folder);
  if (steps.length === 0) {
    findCheckpoint(run); // says so where there is no run at all
    throw new MissingInputError(
      `${run} keeps no averages along a power of the time`,
      'Train with --ema 0.9999,sigma:0.05,sigma:0.1: they are kept with each checkpoint.',
    );
  }
  const last = wanted ?? steps.at(-1)!;
  if (!steps.includes(last)) {
    throw new UsageError(`--step ${last}: ${folder} holds averages of steps ${steps.join(', ')}`);
  }
  const record = readCheckpointRecord(stepFolder(folder, last));
  const kept = steps
    .filter((step) => step <= last)
    .flatMap((step) => {
      const each = stepFolder(folder, step);
      const own = readCheckpointRecord(each);
      checkSameNetwork(own, record, each);
      return powerParts(own).map(({ average, part }) => {
        return { folder: each, part, time: own.images, sigma: sigmaOf(average)! };
      });
    });
  return { kept, record };
}

function checkSameNetwork(own: RunRecord, record: RunRecord, folder: string): void {
  if (haveSameParameters(own, record)) return;
  throw new DataError(`${folder} is of another network`, 'Move the averages of the other run elsewhere.');
}

/** @throws UsageError when a folder holds anything but the same average, which may be written again */
function checkFree(out: string, { step, training }: RunRecord): void {
  const steps = checkpointSteps(out);
  if (steps.length === 0) return;
  const [first] = readCheckpointRecord(stepFolder(out, steps[0])).training.emaDecays;
  const isSame = steps.length === 1 && steps[0] === step && first === training.emaDecays[0];
  if (isSame && !hasPart(stepFolder(out, step), 'model')) return;
  throw new UsageError(`${out} holds checkpoints already`, 'Choose another folder with --out.');
}
