/**
 * The log of a run as a run of MLflow's file store: a folder for each experiment, in it a folder for each run, in it a
 * file for each metric, parameter and tag.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { writeFileAtomic } from '../files/atomic-file.js';
import { openAtomicFolder } from '../files/atomic-folder.js';
import { makeFolder } from '../files/folders.js';
import { sha256OfText } from '../files/sha256.js';
import { flattened } from '../runs/facts.js';
import { FreeNames } from './file-names.js';
import { identityOf, type LoggedRun, loggedRun, stepsOf } from './logged-run.js';

const EXPERIMENT = 'repa';
/** An id of 18 digits, as MLflow draws them. */
const EXPERIMENT_ID = String(BigInt(`0x${sha256OfText(EXPERIMENT)}`)).slice(0, 18);
const ID_DIGITS = 32;
const STATUS = { running: 1, finished: 3 } as const;
const LOCAL_SOURCE = 4;
/** The longest parameter that releases from 2 on take; the whole configuration is an artifact. */
const LONGEST_PARAMETER = 500;

/**
 * Writes a run into a file store, in the experiment `repa`: values by step, those of measures under the measure's name;
 * the configuration as parameters; sheets of samples as artifacts. Run again, it writes the run anew.
 * @returns the run's folder
 * @throws DataError for a run without a log
 */
export function exportMlflow(location: string, store: string): string {
  const run = loggedRun(location);
  const experiment = path.resolve(store, EXPERIMENT_ID);
  makeFolder(experiment);
  const meta = { artifact_location: pathToFileURL(experiment).href, experiment_id: EXPERIMENT_ID, name: EXPERIMENT };
  writeText(path.join(experiment, META), yamlOf({ ...meta, lifecycle_stage: 'active' }));
  const id = identityOf(run, ID_DIGITS);
  const folder = path.join(experiment, id);
  if (existsSync(folder)) {
    writeRun(run, id, folder, folder);
    return folder;
  }
  const made = openAtomicFolder(folder);
  try {
    writeRun(run, id, made.path, folder);
    made.commit();
  } catch (error) {
    made.abort();
    throw error;
  }
  return folder;
}

const META = 'meta.yaml';

/** @param folder where files are put; `final` where they will lie */
function writeRun(run: LoggedRun, id: string, folder: string, final: string): void {
  const put = (file: string, content: string | Buffer): void => {
    const place = path.join(folder, file);
    makeFolder(path.dirname(place));
    writeText(place, content);
  };
  const { name, started, lines, config, sheets, running } = run;
  const artifacts = path.join(final, 'artifacts');
  for (const [metric, points] of metricsOf(run)) put(`metrics/${metric}`, points);
  for (const [parameter, value] of parametersOf(config ?? {})) put(`params/${parameter}`, value);
  if (config) put('artifacts/config.json', `${JSON.stringify(config, null, 2)}\n`);
  put('tags/mlflow.runName', name);
  for (const [step, { png }] of sheets) put(`artifacts/samples/step-${String(step).padStart(8, '0')}.png`, png);
  put(
    META,
    yamlOf({
      artifact_uri: pathToFileURL(artifacts).href,
      end_time: running ? null : milliseconds(lines.at(-1)!.time),
      entry_point_name: '',
      experiment_id: EXPERIMENT_ID,
      lifecycle_stage: 'active',
      run_id: id,
      run_name: name,
      run_uuid: id,
      source_name: '',
      source_type: LOCAL_SOURCE,
      source_version: '',
      start_time: milliseconds(started),
      status: running ? STATUS.running : STATUS.finished,
      tags: [],
      user_id: '',
    }),
  );
}

const milliseconds = (seconds: number): number => Math.round(seconds * 1000);

/** The file of each metric: a line for each point, with its time, value and step. */
function metricsOf(run: LoggedRun): Map<string, string> {
  const names = new MetricNames();
  const points = new Map<string, string[]>();
  for (const { step, time, values } of stepsOf(run)) {
    for (const [name, value] of values) {
      const file = names.of(name);
      const lines = points.get(file) ?? [];
      lines.push(`${milliseconds(time)} ${value} ${step}\n`);
      points.set(file, lines);
    }
  }
  return new Map([...points].map(([name, all]) => [name, all.join('')]));
}

/** The settings by their paths, such as `training.batchSize`. */
function parametersOf(config: Readonly<Record<string, unknown>>): Map<string, string> {
  const names = new MetricNames();
  const found = new Map<string, string>();
  for (const [name, value] of flattened(config)) {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    found.set(names.of(name), text.slice(0, LONGEST_PARAMETER));
  }
  return found;
}

/** Names as MLflow allows them, which are those of files: within the folder, and no two the same. */
class MetricNames {
  readonly #free = new FreeNames({ ignoreCase: true });
  readonly #given = new Map<string, string>();

  of(name: string): string {
    let given = this.#given.get(name);
    if (given === undefined) {
      const parts = name.split('/').map((part) => part.replaceAll(/[^\w. -]/g, '_').replace(/^\.*$|^\./, '_'));
      given = this.#free.take(name, [parts.join('/')]);
      this.#given.set(name, given);
    }
    return given;
  }
}

function writeText(file: string, content: string | Buffer): void {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  writeFileAtomic(file, bytes);
}

/** A mapping in YAML, of which JSON is a part. */
const yamlOf = (fields: Readonly<Record<string, unknown>>): string =>
  Object.entries(fields)
    .map(([key, value]) => `${key}: ${JSON.stringify(value)}\n`)
    .join('');
