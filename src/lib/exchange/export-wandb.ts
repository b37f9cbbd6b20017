/** The log of a run as an offline run of Weights & Biases. */
import path from 'node:path';
import { writeFileAtomic } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { WandbFile } from '../formats/wandb.js';
import { version } from '../version.js';
import { identityOf, type LoggedRun, loggedRun, type Sheet, stepsOf } from './logged-run.js';

const PROJECT = 'repa';
const ID_DIGITS = 8;

/**
 * Writes a run as an offline run into a folder of such runs: values by step, those of measures under the measure's
 * name, sheets of samples as pictures, the configuration. Run again, it writes the run anew under the same name.
 * @returns the run's folder, for `wandb sync`
 * @throws DataError for a run without a log
 */
export function exportWandb(location: string, out: string): string {
  const run = loggedRun(location);
  const id = identityOf(run, ID_DIGITS);
  const folder = path.join(out, `offline-run-${compactTime(run.started)}-${id}`);
  const media = path.join(folder, 'files', MEDIA);
  makeFolder(media);
  for (const [step, sheet] of run.sheets) {
    const file = path.join(media, sheetName(step, sheet));
    writeFileAtomic(file, sheet.png);
  }
  const bytes = wandbFileOf(run, id);
  writeFileAtomic(path.join(folder, `run-${id}.wandb`), bytes);
  return folder;
}

function wandbFileOf(run: LoggedRun, id: string): Buffer {
  const { name, started, config, sheets, running } = run;
  const file = new WandbFile();
  file.header(`repa ${version}`);
  file.run({ id, project: PROJECT, name, started, config: config ?? {} });
  const newest = new Map<string, unknown>();
  let runtime = 0;
  for (const { step, time, values } of stepsOf(run)) {
    runtime = Math.max(0, time - started);
    const own = new Map<string, unknown>(values);
    const sheet = sheets.get(step);
    if (sheet) {
      file.file(`${MEDIA}/${sheetName(step, sheet)}`);
      own.set('samples/sheet', pictureOf(step, sheet));
    }
    own.set('_step', step).set('_timestamp', time).set('_runtime', runtime);
    file.history(step, own);
    for (const [key, value] of own) newest.set(key, value);
  }
  file.summary(newest);
  if (!running) file.exit(runtime);
  return file.finish();
}

const MEDIA = 'media/images';

/** As the program names pictures: by what and when they are, and by what is in them. */
const sheetName = (step: number, { sha256 }: Sheet): string => `samples_${step}_${sha256.slice(0, 20)}.png`;

const pictureOf = (step: number, sheet: Sheet): Record<string, unknown> => ({
  _type: 'image-file',
  format: 'png',
  path: `${MEDIA}/${sheetName(step, sheet)}`,
  sha256: sheet.sha256,
  size: sheet.png.length,
  width: sheet.width,
  height: sheet.height,
});

/** `20261128_174300`, UTC. */
const compactTime = (seconds: number): string =>
  new Date(seconds * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_');
