/**
 * CLIP's tokenizer: byte pairs, of texts in lower case, from the vocabulary files that are published with its weights.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { sha256OfText } from '../files/sha256.js';
import { readSmallText } from '../files/small-file.js';
import { jsonObject } from '../formats/json-object.js';

const START = '<|startoftext|>';
const END = '<|endoftext|>';
/** Marks the last piece of a word. */
const WORD_END = '</w>';
/** Contractions, words, single digits, and runs of anything else. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
/** Words whose tokens are kept, to be looked up rather than merged again. */
const MOST_KNOWN = 1 << 16;

/** Letters of a word that are merged at first, for each token needed. */
const LETTERS_PER_TOKEN = 32;
/** The last pieces of what was merged, which may still depend on the letters after them. */
const UNSETTLED = 2;

export class ClipTokenizer {
  /** Hash of both files. */
  readonly sha256: string;
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #ranks: ReadonlyMap<string, number>;
  readonly #start: number;
  readonly #end: number;
  readonly #words = new Map<string, readonly number[]>();

  /**
   * @param folder with vocab.json and merges.txt
   * @throws MissingInputError when one is not there; DataError when they are not CLIP's
   */
  constructor(folder: string) {
    const file = (name: string): string => {
      const place = path.join(folder, name);
      if (existsSync(place)) return readSmallText(place);
      throw missingInput(
        place,
        'file',
        'The vocabulary of CLIP is vocab.json and merges.txt, published beside its weights.',
      );
    };
    const [words, pairs] = ['vocab.json', 'merges.txt'].map(file);
    this.sha256 = sha256OfText(JSON.stringify([words, pairs]));
    const vocabulary = Object.entries(jsonObject(words) ?? {});
    const isNumber = (token: unknown): token is number =>
      Number.isInteger(token) && (token as number) >= 0 && (token as number) < vocabulary.length;
    this.#vocabulary = new Map(vocabulary.filter((entry): entry is [string, number] => isNumber(entry[1])));
    const merges = pairs.split('\n').filter((line) => /^\S+ \S+$/.test(line) && !line.startsWith('#version'));
    this.#ranks = new Map(merges.map((line, rank) => [line, rank]));
    const [start, end] = [this.#vocabulary.get(START), this.#vocabulary.get(END)];
    if (start === undefined || end === undefined || merges.length === 0 || this.size < vocabulary.length) {
      throw new DataError(`${folder}: vocab.json and merges.txt are not those of CLIP`);
    }
    this.#start = start;
    this.#end = end;
  }

  /** The size of the vocabulary. */
  get size(): number {
    return this.#vocabulary.size;
  }

  /**
   * The tokens of a text between its start and its end, cut to `length` and filled up with the end, as transformers'
   * CLIPTokenizer gives them (which was the check).
   * @returns [length]
   * @throws DataError for a piece that the vocabulary lacks
   */
  encode(text: string, length: number): Int32Array {
    const words = lowerCase(text.normalize('NFC')).match(WORDS) ?? [];
    const pieces: number[] = [];
    for (const word of words) {
      if (pieces.length >= length - 2) break;
      pieces.push(...this.#word(word, length));
    }
    pieces.length = Math.min(pieces.length, length - 2);
    return Int32Array.from({ length }, (_, i) => (i === 0 ? this.#start : (pieces[i - 1] ?? this.#end)));
  }

  /** @param count how many of its tokens are wanted at most */
  #word(word: string, count: number): readonly number[] {
    const name = `${count} ${word}`;
    const known = this.#words.get(name);
    if (known) return known;
    const tokens = this.#firstPieces(lettersOf(word), count).map((piece) => {
      const token = this.#vocabulary.get(piece);
      if (token !== undefined) return token;
      throw new DataError(`vocab.json lacks '${piece}', a piece of '${word}': it does not belong to merges.txt`);
    });
    if (this.#words.size < MOST_KNOWN) this.#words.set(name, tokens);
    return tokens;
  }

  /**
   * All pieces of a word, or the first `count` and some more: merging takes the square of the letters, of which there
   * may be millions.
   */
  #firstPieces(letters: readonly string[], count: number): string[] {
    for (let most = count * LETTERS_PER_TOKEN; ; most *= 2) {
      const pieces = merged(letters.slice(0, most), this.#ranks);
      if (most >= letters.length || pieces.length >= count + UNSETTLED) return pieces.slice(0, count);
    }
  }
}

/** Letter by letter: a sigma at the end of a word is like any other. */
const lowerCase = (text: string): string => Array.from(text, (letter) => letter.toLowerCase()).join('');

/** Bytes that stand for themselves; the others are written as letters from 256 on. */
const isShown = (byte: number): boolean =>
  (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);

const LETTERS: readonly string[] = (() => {
  let hidden = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isShown(byte) ? byte : hidden++));
})();

/** The bytes of a word as letters, the last one with the mark. */
function lettersOf(word: string): string[] {
  const letters = Array.from(Buffer.from(word), (byte) => LETTERS[byte]);
  letters[letters.length - 1] += WORD_END;
  return letters;
}

/** Joins the pair of the lowest rank, everywhere, until no pair has one. */
function merged(pieces: string[], ranks: ReadonlyMap<string, number>): string[] {
  for (;;) {
    let best = '';
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i + 1 < pieces.length; i++) {
      const pair = `${pieces[i]} ${pieces[i + 1]}`;
      const rank = ranks.get(pair);
      if (rank !== undefined && rank < least) [best, least] = [pair, rank];
    }
    if (least === Number.POSITIVE_INFINITY) return pieces;
    const next: string[] = [];
    for (let i = 0; i < pieces.length; i++) {
      const pair = `${pieces[i]} ${pieces[i + 1]}`;
      next.push(pair === best ? pair.replace(' ', '') : pieces[i]);
      if (pair === best) i++;
    }
    pieces = next;
  }
}
