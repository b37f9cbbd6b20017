/** What a network that draws from text is told: the vectors of captions that encode-text made. */
import { DataError, UsageError } from '../errors.js';
import { NULL_CAPTION } from '../images/captions.js';
import { isMmdit } from '../models/mmdit.js';
import { openTensorFile, type TensorFile } from '../stream/file.js';
import { contextShape, emptyCaption, readContext } from '../training/data/captions.js';
import type { DiffusionModel } from './model.js';

/** Captions whose vectors are kept once they were read. */
const MOST_KEPT = 256;

/** Batches whose vectors are kept: those of one are asked for at every step, with and without the captions that guide. */
const MOST_JOINED = 2;

/** Captions by their number; the number after the last is the empty one, from which guidance moves away. */
export class Prompts {
  readonly count: number;
  readonly #file: TensorFile;
  readonly #rows: Uint32Array;
  readonly #kept = new Map<number, Float32Array>();
  readonly #joined = new Map<string, Float32Array>();

  private constructor(file: TensorFile) {
    const rows = file.keys().flatMap((key, row) => (key === NULL_CAPTION ? [] : [row]));
    this.count = rows.length;
    this.#file = file;
    this.#rows = Uint32Array.from([...rows, emptyCaption(file)]);
  }

  /**
   * @throws UsageError when the model wants captions and there are none, or takes none; DataError when they are of another encoder
   *   than it was trained with
   */
  static async open(path: string | undefined, { record, source }: DiffusionModel): Promise<Prompts | undefined> {
    const { model } = record;
    if (!isMmdit(model)) {
      if (path === undefined) return undefined;
      throw new UsageError(`--text: ${source} draws from classes, not from text`, 'Choose them with --labels.');
    }
    if (path === undefined) {
      throw new UsageError(
        `${source} draws from text`,
        'Encode prompts with repa encode-text, and name them by --text.',
      );
    }
    const file = await openTensorFile(path);
    const { tokens, dim } = contextShape(file);
    const { text } = model;
    const [own, trained] = [file.schema.metadata, record.data.text?.metadata].map(
      (each) => each?.['repa.model.sha256'],
    );
    if (tokens !== text.tokens || dim !== text.dim || (trained !== undefined && own !== trained)) {
      throw new DataError(
        `${path}: captions of ${file.schema.metadata['repa.model']} [${tokens}, ${dim}], but ${source} was trained with others`,
        `Encode them with ${record.data.text?.metadata['repa.model'] ?? `an encoder of [${text.tokens}, ${text.dim}]`}.`,
      );
    }
    const prompts = new Prompts(file);
    if (prompts.count === 0) throw new DataError(`${path}: holds no caption but the empty one`);
    return prompts;
  }

  /** The caption of image `index`: they take turns. */
  of(index: number): number {
    return index % this.count;
  }

  /** The header of the stream. */
  get metadata(): Readonly<Record<string, string>> {
    return this.#file.schema.metadata;
  }

  /** The vectors of captions by their numbers, [N, L, D]: to be read only. */
  vectors(numbers: Int32Array): Float32Array {
    const name = numbers.join();
    const known = this.#joined.get(name);
    if (known) return known;
    const all = Array.from(numbers, (number) => this.#read(number)); // [L, D] each
    const joined = new Float32Array(all.reduce((sum, each) => sum + each.length, 0));
    all.forEach((each, row) => {
      joined.set(each, row * each.length);
    });
    if (this.#joined.size >= MOST_JOINED) this.#joined.clear();
    this.#joined.set(name, joined);
    return joined;
  }

  #read(number: number): Float32Array {
    const known = this.#kept.get(number);
    if (known) return known;
    const found = readContext(this.#file, this.#rows[number]); // [L, D]
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear();
    this.#kept.set(number, found);
    return found;
  }

  close(): void {
    this.#file.close();
  }
}
