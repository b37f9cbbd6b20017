/**
 * The folders that the official preprocessing of REPA (and of EDM2) writes: `00000/img-mean-std-00000000.npy` with the
 * moments of each image, f32 [2C, h, w], and `dataset.json` of `{"labels": [[path, class], ...]}`.
 */
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeFolder } from '../files/folders.js';
import { encodeNpy, readNpy } from '../formats/npy.js';
import { compareCodePoints } from '../images/code-points.js';
import { folderFiles } from '../images/list.js';
import { LABEL_FILE, labelsFromFile } from '../images/picture-set.js';
import { toFloats } from '../stream/rows.js';
import type { TensorColumn } from '../stream/schema.js';
import { checkedRow, columnFor, type Row, type RowSource } from './rows.js';

/** A file of moments; the number is that of the image it was made of. */
const MOMENTS = /(^|\/)img-mean-std-(\d+)\.npy$/;

const listMoments = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => name.split(path.sep).join('/'))
    .filter((name) => MOMENTS.test(name))
    .sort(compareCodePoints);

/** Whether a folder is one of this layout. */
export const isPreprocessed = (folder: string): boolean =>
  statSync(folder).isDirectory() && listMoments(folder).length > 0;

/**
 * Moments under the keys of the images that they were made of (`00000/img00000000.png`), so that features of those
 * images join them.
 * @throws DataError when a file is damaged or of another shape, or dataset.json does not cover it.
 */
export function readPreprocessed(folder: string): RowSource {
  const names = listMoments(folder);
  const labels = labelsFromFile(folderFiles(folder), names);
  const read = (name: string) => readNpy(path.join(folder, name));
  const column = columnFor(read(names[0]), names[0], 'moments');
  async function* rows(): AsyncGenerator<Row> {
    for (const name of names) {
      const values = checkedRow(read(name), column, path.join(folder, name));
      yield { key: name.replace(MOMENTS, '$1img$2.png'), label: labels?.of(name) ?? -1, tensors: { moments: values } };
    }
  }
  return { columns: [column], total: names.length, rows: rows() };
}

/**
 * Writes rows of moments in this layout, numbered in their order; `end` writes dataset.json, without which it is not
 * done.
 */
export class PreprocessedWriter {
  readonly #folder: string;
  readonly #column: TensorColumn;
  readonly #labels: [string, number][] = [];

  constructor(folder: string, column: TensorColumn) {
    this.#folder = folder;
    this.#column = column;
  }

  append({ label, tensors }: Row): void {
    const number = String(this.#labels.length).padStart(8, '0');
    const name = `${number.slice(0, 5)}/img-mean-std-${number}.npy`;
    if (number.endsWith('000')) makeFolder(path.join(this.#folder, number.slice(0, 5)));
    const data = toFloats(tensors[this.#column.name]); // f32, as there
    writeFileSync(path.join(this.#folder, name), encodeNpy({ shape: [...this.#column.shape], dtype: 'f32', data }));
    this.#labels.push([name, label]);
  }

  /** @returns what may surprise, one sentence each */
  end(): string[] {
    writeLabels(this.#folder, this.#labels);
    return [];
  }

  abort(): void {}
}

/** Writes dataset.json: null where no image has a class, as the official code has it. */
export function writeLabels(folder: string, labels: readonly (readonly [string, number])[]): void {
  const known = labels.some(([, label]) => label >= 0);
  writeFileSync(path.join(folder, LABEL_FILE), `${JSON.stringify({ labels: known ? labels : null })}\n`);
}
