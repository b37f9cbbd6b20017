/** A training run as its folder shows it: the log, the newest checkpoint's configuration, the sheets of samples. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { missingInput } from '../files/missing.js';
import { checkpointSteps, findCheckpoint, readCheckpointRecord, stepFolder } from '../training/checkpoint.js';
import { RunLog } from './run-log.js';
import type { Facts, PictureView, RunChange } from './run-view.js';

const SHEET = /^step-(\d+)\.png$/;

export class RunFolder {
  readonly name: string;
  readonly #folder: string;
  readonly #log: RunLog | undefined;
  /** The checkpoint, where it alone is shown: its configuration never changes. */
  readonly #checkpoint: string | undefined;
  #config: { folder: string; facts: Facts } | undefined;

  /**
   * @param location a training folder, one checkpoint in it, or a log
   * @throws MissingInputError when none of these is there
   */
  constructor(location: string) {
    if (!existsSync(location)) {
      throw missingInput(location, 'run', 'Name a folder of repa train --out, or a log of one.');
    }
    const isLog = !statSync(location).isDirectory();
    const isCheckpoint = !isLog && existsSync(path.join(location, 'config.json'));
    this.#folder = isLog || isCheckpoint ? path.dirname(path.resolve(location)) : path.resolve(location);
    this.#checkpoint = isCheckpoint ? location : undefined;
    const log = isLog ? location : path.join(this.#folder, 'log.ndjson');
    if (existsSync(log)) this.#log = new RunLog(log);
    else if (!isCheckpoint) findCheckpoint(location); // an imported checkpoint has no log, an empty folder has nothing
    this.name = path.basename(isLog && path.basename(log) !== 'log.ndjson' ? path.parse(log).name : this.#folder);
  }

  /**
   * What changed since the last call.
   * @param pictureUri where a page finds a sheet, by its name in the run's folder
   * @throws DataError for a line of the log that is no JSON object
   */
  changes(pictureUri: (file: string) => string): RunChange {
    const { replaced, lines } = this.#log?.grown() ?? { replaced: false, lines: [] };
    return { name: this.name, config: this.#newestConfig(), replaced, lines, pictures: this.#sheets(pictureUri) };
  }

  /** The bytes of a sheet of samples; undefined for a name that is none. */
  picture(file: string): Buffer | undefined {
    const place = path.join(this.#folder, 'samples', file);
    return SHEET.test(file) && existsSync(place) ? readFileSync(place) : undefined;
  }

  #sheets(pictureUri: (file: string) => string): PictureView[] {
    const folder = path.join(this.#folder, 'samples');
    if (!existsSync(folder)) return [];
    return readdirSync(folder)
      .flatMap((file) => {
        const step = SHEET.exec(file)?.[1];
        return step === undefined ? [] : [{ step: Number(step), uri: pictureUri(file) }];
      })
      .sort((a, b) => a.step - b.step);
  }

  #newestConfig(): Facts | null {
    const newest = checkpointSteps(this.#folder).at(-1);
    const folder = this.#checkpoint ?? (newest === undefined ? undefined : stepFolder(this.#folder, newest));
    if (folder === undefined) return null;
    if (this.#config?.folder !== folder) {
      try {
        this.#config = { folder, facts: readCheckpointRecord(folder) };
      } catch (error) {
        // A checkpoint may be removed between being listed and being read: the next call finds a newer one.
        if (existsSync(folder)) throw error;
      }
    }
    return this.#config?.facts ?? null;
  }
}
