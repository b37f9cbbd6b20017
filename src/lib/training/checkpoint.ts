/**
 * Checkpoints: `ckpt/step-0001000/` with config.json and one safetensors file for each set of arrays, under the
 * official parameter names: `model`, the moving averages `ema...`, and the moments of the optimiser (`optimizer`:
 * `exp_avg.<name>` and `exp_avg_sq.<name>` of AdamW, `momentum.<name>` of Muon). At step 0, which only weights from
 * elsewhere have, there are no moments yet.
 *
 * SHA256SUMS holds the checksum of each file, which is compared before the file is read; checkpoints of versions that
 * wrote none are read without.
 *
 * A checkpoint is written into a hidden folder and renamed when all of it is on disk, so that every folder with the
 * name of a step is complete. The newest one counts; older ones are removed only after it exists.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError, diskProblem, MissingInputError, UnavailableError } from '../errors.js';
import { syncFolder, writeFileAtomic } from '../files/atomic-file.js';
import { checkChecksum, writeChecksums } from '../files/checksums.js';
import { makeFolder } from '../files/folders.js';
import { whyLinkFails } from '../files/missing.js';
import { temporaryName } from '../files/temporary-files.js';
import type { HostTensor } from '../formats/host-tensor.js';
import { type LazyTensor, openSafetensors, type SafetensorsFile, writeSafetensors } from '../formats/safetensors.js';
import { parseUniqueJson } from '../formats/unique-json.js';
import type { Average } from '../optim/average.js';
import { type RunRecord, readRecord, writtenRecord } from './record.js';

const CONFIG = 'config.json';
const STEP_FOLDER = /^step-(\d{7,})$/;
const UNFINISHED = /^\.step-\d{7,}\.tmp$/;

/** Name of the file of a moving average: `ema` is the first one, `ema-0.999` and `ema-sigma-0.05` are further ones. */
export const averagePart = (averages: readonly Average[], index: number): string =>
  index === 0 ? 'ema' : `ema-${String(averages[index]).replace(':', '-')}`;

/** The steps of the complete checkpoints in `folder`, in ascending order. */
export function checkpointSteps(folder: string): number[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => STEP_FOLDER.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

export const stepFolder = (folder: string, step: number): string =>
  path.join(folder, `step-${String(step).padStart(7, '0')}`);

/**
 * The checkpoint that `location` means: a step's folder itself, or the newest one below a training folder.
 * @throws MissingInputError when there is none
 */
export function findCheckpoint(location: string): string {
  if (existsSync(path.join(location, CONFIG))) return location;
  const newest = checkpointSteps(location).at(-1);
  if (newest === undefined) {
    const link = whyLinkFails(location);
    throw new MissingInputError(
      `no checkpoint in ${location}${link ? `: ${link}` : ''}`,
      'Train one with repa train, or name it with --ckpt.',
    );
  }
  return stepFolder(location, newest);
}

/** The folder that a checkpoint is written into until it is whole. */
const hiddenFolder = (folder: string, step: number): string =>
  path.join(folder, `.${path.basename(stepFolder(folder, step))}.tmp`);

/** @throws UnavailableError when another run has saved since this one was planned */
export function checkNothingNewer(out: string, step: number): void {
  const newest = checkpointSteps(out).at(-1) ?? 0;
  if (newest === step) return;
  throw new UnavailableError(`another run has just trained ${out} to step ${newest}`, 'Run the same command again.');
}

/** Removes what a killed run did not finish writing or removing below `folder`: for the one run that writes there. */
export function discardUnfinished(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (UNFINISHED.test(name)) rmSync(path.join(folder, name), { recursive: true });
  }
}

/**
 * Writes a checkpoint, then removes all but the newest `keep`.
 * @returns its folder
 * @throws UnavailableError when the disk is full: older checkpoints are untouched then
 */
export function saveCheckpoint(
  folder: string,
  record: RunRecord,
  parts: ReadonlyMap<string, Iterable<readonly [string, HostTensor | LazyTensor]>>,
  keep: number,
): string {
  const target = stepFolder(folder, record.step);
  const temporary = hiddenFolder(folder, record.step);
  let made: string | undefined;
  try {
    rmSync(temporary, { recursive: true, force: true }); // of a killed one, whose files would be taken for ours
    made = makeFolder(temporary); // the first folder that was not there
    for (const [part, tensors] of parts) writeSafetensors(path.join(temporary, `${part}.safetensors`), tensors);
    const text = `${JSON.stringify(writtenRecord(record), null, 2)}\n`;
    writeFileAtomic(path.join(temporary, CONFIG), text);
    writeChecksums(temporary);
    if (existsSync(target)) removeStep(folder, record.step);
    renameSync(temporary, target);
  } catch (error) {
    rmSync(made ?? temporary, { recursive: true, force: true });
    throw notSaved(folder, record.step, error);
  }
  syncFolder(folder);
  for (const old of checkpointSteps(folder).slice(0, -keep)) removeStep(folder, old);
  return target;
}

/** Takes the name of a step away first: a checkpoint that is half removed must not have it either. */
function removeStep(folder: string, step: number): void {
  const unnamed = temporaryName(stepFolder(folder, step));
  renameSync(stepFolder(folder, step), unnamed);
  rmSync(unnamed, { recursive: true });
}

function notSaved(folder: string, step: number, error: unknown): unknown {
  const problem = diskProblem(error);
  if (!problem) return error;
  const newest = checkpointSteps(folder).at(-1);
  const kept = newest === undefined ? 'There is no older one' : `That of step ${newest} is as it was`;
  return new UnavailableError(
    `the checkpoint of step ${step} could not be saved in ${folder}: ${problem}`,
    `${kept}. Make room, or lower --keep; then the same command continues.`,
  );
}

/**
 * Reads config.json of a step's folder.
 * @throws DataError when it is no record of a format that this version knows, naming what is wrong
 */
export function readCheckpointRecord(checkpoint: string): RunRecord {
  const file = path.join(checkpoint, CONFIG);
  checkChecksum(checkpoint, CONFIG);
  let json: unknown;
  try {
    json = parseUniqueJson(readConfigText(file));
  } catch (error) {
    throw new DataError(`${file}: cannot be read as a checkpoint's configuration: ${(error as Error).message}`);
  }
  return readRecord(json, file);
}

/** Bytes. No record of a run is as long. */
const LARGEST_CONFIG = 2 ** 24;

function readConfigText(file: string): string {
  const { size } = statSync(file);
  if (size > LARGEST_CONFIG) throw new Error(`it has ${size} bytes, more than ${LARGEST_CONFIG}`);
  return readFileSync(file, 'utf8');
}

const partFile = (checkpoint: string, part: string): string => path.join(checkpoint, `${part}.safetensors`);

export const hasPart = (checkpoint: string, part: string): boolean => existsSync(partFile(checkpoint, part));

/**
 * Opens the file of one set of a checkpoint's arrays.
 * @throws MissingInputError when there is no such set; DataError when the file is damaged, or is not the one that was
 *   saved
 */
export function openCheckpointPart(checkpoint: string, part: string): SafetensorsFile {
  const file = partFile(checkpoint, part);
  if (!hasPart(checkpoint, part) && hasPart(checkpoint, 'ema')) {
    throw new MissingInputError(
      `${checkpoint} holds a moving average alone, and no ${path.basename(file)}`,
      'It can be sampled and exported as .safetensors; training goes on from the run that it is of.',
    );
  }
  checkChecksum(checkpoint, path.basename(file));
  return openSafetensors(file);
}

/**
 * Reads one set of a checkpoint's arrays, tensor by tensor.
 * @throws DataError when the file is damaged
 */
export function* readCheckpointPart(checkpoint: string, part: string): Generator<[string, HostTensor]> {
  const file = openCheckpointPart(checkpoint, part);
  try {
    for (const name of file.names) yield [name, file.read(name)];
  } finally {
    file.close();
  }
}
