/** Texts that describe pictures, by the keys of the pictures. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { readSmallText } from '../files/small-file.js';
import { jsonObject } from '../formats/json-object.js';
import { isHidden, isImageName } from './image-names.js';
import { METADATA_FILES, metadataRows } from './metadata-rows.js';

/** The fields of a caption in Hugging Face's imagefolder, img2dataset and others. */
const CAPTION_FIELDS = ['text', 'caption'];

/** The captions of each picture, at least one; of a plain text file, of line numbers. */
export type Captions = ReadonlyMap<string, readonly string[]>;

/**
 * @param source a folder of pictures with a metadata.jsonl or metadata.csv (`file_name`, and `text` or `caption`) or a
 *   .txt beside each; such a .jsonl or .csv; a .json of captions or lists of them by key, or COCO's; or a .txt with a
 *   caption a line, or - for that on stdin
 * @throws MissingInputError when it is not there; DataError when it holds no captions, or a line is none
 */
export function readCaptions(source: string): Captions {
  if (source !== '-' && !existsSync(source)) throw missingInput(source, 'file or folder');
  const captions = source !== '-' && statSync(source).isDirectory() ? ofFolder(source) : ofFile(source);
  if (captions.size > 0) return captions;
  throw new DataError(`${source}: holds no captions`);
}

function ofFolder(folder: string): Captions {
  const metadata = METADATA_FILES.map((name) => path.join(folder, name)).find((file) => existsSync(file));
  if (metadata !== undefined) return ofFile(metadata);
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) =>
    name.split(path.sep).join('/'),
  );
  const names = new Set(files);
  const pictures = files.filter((name) => isImageName(name) && !isHidden(name)).sort();
  return new Map(
    pictures.flatMap((name): [string, string[]][] => {
      const beside = `${name.slice(0, -path.extname(name).length)}.txt`;
      if (!names.has(beside)) return [];
      const lines = linesOf(readSmallText(path.join(folder, beside)));
      return lines.length > 0 ? [[name, lines]] : [];
    }),
  );
}

const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

function ofFile(file: string): Captions {
  const text = readSmallText(file);
  const extension = path.extname(file);
  if (extension === '.jsonl' || extension === '.ndjson') {
    const lines = [...text.split('\n').entries()].filter(([, line]) => line.trim() !== '');
    return ofRows(
      lines.map(([i, line]) => [`line ${i + 1}`, jsonObject(line)]),
      file,
    );
  }
  if (extension === '.csv') {
    return ofRows(
      metadataRows(text, file).map((row, i) => [`row ${i + 2}`, row]),
      file,
    );
  }
  if (extension === '.json') return ofJson(text, file);
  return new Map(linesOf(text).map((line, i) => [String(i), [line]]));
}

/** @param rows with their names in messages */
function ofRows(rows: readonly [string, Record<string, unknown> | undefined][], file: string): Captions {
  const captions = new Map<string, string[]>();
  for (const [where, fields] of rows) {
    const key = fields?.file_name;
    const caption = CAPTION_FIELDS.map((name) => fields?.[name]).find((value) => typeof value === 'string');
    if (typeof key !== 'string' || typeof caption !== 'string') {
      throw new DataError(`${file}: ${where} has no 'file_name' with a '${CAPTION_FIELDS.join("' or '")}'`);
    }
    captions.set(key, [...(captions.get(key) ?? []), caption]);
  }
  return captions;
}

function ofJson(text: string, file: string): Captions {
  const value = jsonObject(text);
  if (!value) throw new DataError(`${file}: is no JSON object`);
  if (Array.isArray(value.annotations) && Array.isArray(value.images))
    return ofCoco(value.images, value.annotations, file);
  return new Map(
    Object.entries(value).map(([key, caption]) => {
      const list = Array.isArray(caption) ? caption : [caption];
      if (list.length === 0 || !list.every((each) => typeof each === 'string')) {
        throw new DataError(`${file}: '${key}' is neither a text nor a list of texts`);
      }
      return [key, list];
    }),
  );
}

/** MS-COCO's captions_*.json: `images` of `id` and `file_name`, `annotations` of `image_id` and `caption`. */
function ofCoco(images: readonly unknown[], annotations: readonly unknown[], file: string): Captions {
  const fields = (value: unknown) =>
    typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const names = new Map(images.map(fields).map(({ id, file_name }) => [id, file_name]));
  const captions = new Map<string, string[]>();
  for (const [i, { image_id, caption }] of annotations.map(fields).entries()) {
    const name = names.get(image_id);
    if (typeof name !== 'string' || typeof caption !== 'string') {
      throw new DataError(`${file}: annotation ${i} has no caption, or is of no image in it`);
    }
    captions.set(name, [...(captions.get(name) ?? []), caption]);
  }
  return captions;
}

/** A caption with its own key. */
export interface CaptionRow {
  key: string;
  caption: string;
}

/** The key of the caption that no picture has, the empty one. */
export const NULL_CAPTION = '#';

/** The key of a picture's n-th caption. */
const captionKey = (picture: string, n: number): string => `${picture}#${n}`;

/** The picture that a caption's key is of; undefined for the null caption and for keys that are none. */
export const pictureOf = (key: string): string | undefined => /^(.+)#\d+$/s.exec(key)?.[1];

/** Every caption by its own key, then the empty one. */
export function captionRows(captions: Captions): CaptionRow[] {
  const rows = [...captions].flatMap(([picture, list]) =>
    list.map((caption, n) => ({ key: captionKey(picture, n), caption })),
  );
  return [...rows, { key: NULL_CAPTION, caption: '' }];
}
