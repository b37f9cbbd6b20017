/**
 * What a network that draws from text is told: the vectors of captions that encode-text made, or of one that is encoded
 * here.
 */
import { DataError, UsageError } from '../errors.js';
import { NULL_CAPTION } from '../images/captions.js';
import { isMmdit } from '../models/mmdit.js';
import { DEFAULT_TEXT_ENCODER, isTextEncoder, openTextEncoder, VOCABULARY_KEY } from '../pretrained/text-encoder.js';
import { openTensorFile, type TensorFile } from '../stream/file.js';
import { type ContextShape, contextShape, emptyCaption, readContext } from '../training/data/captions.js';
import type { DiffusionModel } from './model.js';

/** Captions whose vectors are kept once they were read. */
const MOST_KEPT = 256;

/**
 * Batches whose vectors are kept: those of one are asked for at every step, with and without the captions that guide.
 */
const MOST_JOINED = 2;

/** Vectors of captions by their numbers, [L, D] each; that of the empty one is `count`. */
interface CaptionSource {
  count: number;
  metadata: Readonly<Record<string, string>>;
  /** What the rows of its stream hold, in digits. */
  content?: string;
  read(number: number): Float32Array;
  close(): void;
}

/** Where captions come from. */
export interface PromptChoice {
  /** A stream that encode-text made. */
  text?: string | undefined;
  /** The option that names it. */
  option?: string;
  /** One caption, in words. */
  prompt?: string | undefined;
  /** What encodes it, if not what the model was trained with. */
  textEncoder?: string | undefined;
  textWeights?: string | undefined;
  tokenizer?: string | undefined;
}

function storedCaptions(file: TensorFile): CaptionSource {
  const rows = file.keys().flatMap((key, row) => (key === NULL_CAPTION ? [] : [row]));
  const all = [...rows, emptyCaption(file)];
  return {
    count: rows.length,
    metadata: file.schema.metadata,
    content: file.content,
    read: (number) => readContext(file, all[number]),
    close: () => file.close(),
  };
}

/** One prompt, and the empty one, through the text tower of a CLIP. */
async function encodedPrompt(prompt: string, options: PromptChoice, model: DiffusionModel): Promise<CaptionSource> {
  const trained = model.record.data.text?.metadata['repa.model'];
  const named = options.textEncoder ?? (isTextEncoder(trained) ? trained : DEFAULT_TEXT_ENCODER);
  const encoder = await openTextEncoder({
    ...{ encoder: named, weights: options.textWeights, tokenizer: options.tokenizer, batchSize: 2 },
  });
  const { metadata, tokens, dim } = encoder;
  checkEncoder('--prompt', { tokens, dim, metadata }, model);
  const vectors = encoder.encode([prompt, '']).slice(); // [2, L, D]
  encoder.dispose();
  const size = tokens * dim;
  return {
    count: 1,
    metadata,
    read: (number) => vectors.subarray(number * size, (number + 1) * size),
    close: () => {},
  };
}

/** @throws DataError for vectors of another encoder than the model was trained with */
function checkEncoder(
  where: string,
  { tokens, dim, metadata }: ContextShape & Pick<CaptionSource, 'metadata'>,
  { record, source }: DiffusionModel,
): void {
  const text = record.model.text!;
  const trained = record.data.text?.metadata;
  // What either does not tell is taken for the same.
  const isSame = (key: string): boolean =>
    [metadata[key], trained?.[key]].includes(undefined) || metadata[key] === trained?.[key];
  if (tokens === text.tokens && dim === text.dim && ['repa.model.sha256', VOCABULARY_KEY].every(isSame)) return;
  throw new DataError(
    `${where}: captions of ${metadata['repa.model']} [${tokens}, ${dim}], but ${source} was trained with others`,
    `Encode them with ${trained?.['repa.model'] ?? `an encoder of [${text.tokens}, ${text.dim}]`}.`,
  );
}

/** Captions by their number; the number after the last is the empty one, from which guidance moves away. */
export class Prompts {
  readonly count: number;
  /** What is told of the captions' encoder, under the names of a stream's header. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What the rows of their stream hold, in digits; undefined where they were encoded here. */
  readonly content: string | undefined;
  readonly #source: CaptionSource;
  readonly #kept = new Map<number, Float32Array>();
  readonly #joined = new Map<string, Float32Array>();

  private constructor(source: CaptionSource) {
    this.count = source.count;
    this.metadata = source.metadata;
    this.content = source.content;
    this.#source = source;
  }

  /**
   * @param choice where captions are, and the option that names them, `--text` unless said
   * @throws UsageError when the model wants captions and there are none, or takes none; DataError when they are of
   *   another encoder than it was trained with
   */
  static async open(
    { text: path, prompt, option = '--text', ...encoder }: PromptChoice,
    model: DiffusionModel,
  ): Promise<Prompts | undefined> {
    const { record, source } = model;
    const given = prompt === undefined ? path && option : '--prompt';
    if (!isMmdit(record.model)) {
      if (given === undefined) return undefined;
      throw new UsageError(`${given}: ${source} draws from classes, not from text`, 'Choose them with --labels.');
    }
    if (prompt !== undefined) return new Prompts(await encodedPrompt(prompt, encoder, model));
    if (path === undefined) {
      throw new UsageError(
        `${source} draws from text`,
        `Encode prompts with repa encode-text, and name them by ${option}.`,
      );
    }
    const file = await openTensorFile(path);
    checkEncoder(path, { ...contextShape(file), metadata: file.schema.metadata }, model);
    const prompts = new Prompts(storedCaptions(file));
    if (prompts.count === 0) throw new DataError(`${path}: holds no caption but the empty one`);
    return prompts;
  }

  /** The caption of image `index`: they take turns. */
  of(index: number): number {
    return index % this.count;
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
    const found = this.#source.read(number); // [L, D]
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear();
    this.#kept.set(number, found);
    return found;
  }

  close(): void {
    this.#source.close();
  }
}
