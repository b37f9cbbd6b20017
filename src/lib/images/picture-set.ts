/**
 * The pictures of a set, with their keys and classes. The rules are the same for folders and archives, so that an
 * archive and the folder that it is unpacked to are the same set.
 */
import { DataError } from '../errors.js';
import { compareCodePoints } from './code-points.js';
import { isHidden, isImageName, isUnreadImageName } from './image-names.js';
import type { LabelList } from './label-file.js';
import { METADATA_FILES, metadataRows } from './metadata-rows.js';

/** Files, wherever they lie. */
export interface FileSet {
  /** Their paths within the set, with `/` between folders, in the order in which pictures are wanted. */
  readonly names: readonly string[];
  /** A file that is no picture: dataset.json, a `.cls` or a `.json`. */
  read(name: string): Uint8Array;
  /** Names a file in messages. */
  show(name: string): string;
}

export interface Picture {
  name: string;
  key: string;
  /** Class index; -1 for none. */
  label: number;
}

export interface PictureSet {
  readonly pictures: readonly Picture[];
  /** The folders that the classes are numbered by, in the order of their numbers; undefined where a file tells them. */
  readonly classes: readonly string[] | undefined;
  /** What was left out or may surprise, one sentence each. */
  readonly notes: readonly string[];
}

/** StyleGAN's and REPA's list of labels, at the root of a set. */
export const LABEL_FILE = 'dataset.json';

/** Files at the root of a set that tell the classes of all its pictures. */
export const LABEL_FILES: ReadonlySet<string> = new Set([LABEL_FILE, ...METADATA_FILES]);

const LARGEST_CLASS = 2 ** 31 - 1;

/** Whether a number is a class, or the -1 of a picture that has none. */
export const isClass = (label: unknown): label is number =>
  Number.isInteger(label) && (label as number) >= -1 && (label as number) <= LARGEST_CLASS;

/** The class that a text writes in digits; NaN where it writes something else, or a number in another way. */
const classOf = (label: string): number => {
  const found = /^(-1|\d+)$/.test(label) ? Number(label) : Number.NaN;
  return isClass(found) ? found : Number.NaN;
};

/**
 * The pictures of a set, in its order. Hidden files are left out.
 *
 * A picture's key is its path; a `.json` beside it of `{"key": ...}` alone, as `repa export` writes it, gives another.
 * Its class is what dataset.json tells, else the label of metadata.jsonl or metadata.csv, else what a `.cls` beside it
 * does (`a.cls` is beside `a.png` and `a.left.png`), else the index of its first folder among all such folders in
 * sorted order, as torchvision's ImageFolder numbers them.
 *
 * @param isMember which files count as pictures
 * @param given what tells the classes before all else
 * @throws DataError when a class is no class number, when dataset.json does not cover the pictures, or two have one key
 */
export function pictureSet(
  files: FileSet,
  isMember: (name: string) => boolean = isImageName,
  given?: LabelList,
): PictureSet {
  const seen = files.names.filter((name) => !isHidden(name));
  const members = seen.filter(isMember);
  const labels =
    (given && labelsGiven(given, members)) ??
    labelsFromFile(files, members) ??
    labelsFromMetadata(files, members) ??
    labelsBeside(files, members) ??
    labelsFromFolders(members);
  const keyFiles = new Companions(files.names, '.json');
  const pictures = members.map((name) => {
    const beside = keyFiles.of(name);
    const given = beside === undefined ? undefined : givenKey(files.read(beside));
    return { name, key: given ?? name, label: labels.of(name) };
  });
  refuseTwins(pictures, files);
  return { pictures, classes: labels.classes, notes: [...leftOut(files.names, seen), ...(labels.notes ?? [])] };
}

function leftOut(names: readonly string[], seen: readonly string[]): string[] {
  const notes: string[] = [];
  const hidden = names.filter((name) => isHidden(name) && isImageName(name));
  if (hidden.length > 0) notes.push(`left out: ${counted(hidden.length, 'hidden file')}, such as ${hidden[0]}`);
  const unread = new Map<string, number>();
  for (const name of seen.filter(isUnreadImageName)) {
    const ending = name.slice(name.lastIndexOf('.')).toLowerCase();
    unread.set(ending, (unread.get(ending) ?? 0) + 1);
  }
  if (unread.size > 0) {
    const counts = [...unread].map(([ending, count]) => `${count} ${ending}`).join(', ');
    notes.push(`left out: ${counts}: formats that are not read (convert them to .png)`);
  }
  return notes;
}

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

function refuseTwins(pictures: readonly Picture[], { show }: FileSet): void {
  const names = new Map<string, string>();
  for (const { key, name } of pictures) {
    const other = names.get(key);
    if (other !== undefined && !key.includes('\ufffd'))
      throw new DataError(`${show(name)} and ${other} have the same key '${key}'`);
    names.set(key, name);
  }
}

/**
 * Finds the file of an ending that is beside a picture: of those whose names the picture's begins with, the longest.
 */
class Companions {
  readonly #byStem: ReadonlyMap<string, string>;

  constructor(names: readonly string[], ending: string) {
    const all = names.filter((name) => name.toLowerCase().endsWith(ending) && !isHidden(name));
    this.#byStem = new Map(all.map((name) => [name.slice(0, -ending.length), name]));
  }

  get names(): string[] {
    return [...this.#byStem.values()];
  }

  of(name: string): string | undefined {
    const folder = name.lastIndexOf('/') + 1;
    for (let dot = name.lastIndexOf('.'); dot > folder; dot = name.lastIndexOf('.', dot - 1)) {
      const found = this.#byStem.get(name.slice(0, dot));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).trim();

/**
 * The key of `{"key": ...}`; other programs' files hold more than that, and what they call a key is the file's name.
 */
export function givenKey(bytes: Uint8Array): string | undefined {
  try {
    const entries = Object.entries(JSON.parse(text(bytes)) as object);
    return entries.length === 1 && entries[0][0] === 'key' && typeof entries[0][1] === 'string'
      ? entries[0][1]
      : undefined;
  } catch {
    return undefined; // whatever it is, it is not ours
  }
}

interface Labels {
  of(name: string): number;
  classes?: readonly string[];
  notes?: readonly string[];
}

/** Undefined where there is no dataset.json. */
export function labelsFromFile(files: FileSet, members: readonly string[]): Labels | undefined {
  if (!files.names.includes(LABEL_FILE)) return undefined;
  const where = files.show(LABEL_FILE);
  const entries = parseLabels(files.read(LABEL_FILE), where);
  if (!entries) return { of: () => -1 };
  const labels = new Map<string, number>();
  for (const [name, label] of entries) setLabel(labels, name, label, where);
  const present = new Set(members);
  const absent = entries.filter(([name]) => !present.has(name));
  return {
    of(name) {
      const label = labels.get(name);
      if (label === undefined) throw new DataError(`${where}: has no label for '${name}'`);
      return label;
    },
    notes:
      absent.length > 0 ? [`${where} has ${absent.length} of files that are not there, such as ${absent[0][0]}`] : [],
  };
}

/** The `[path, label]` pairs; undefined when the file says that the images have no labels. */
function parseLabels(bytes: Uint8Array, where: string): [string, number][] | undefined {
  let labels: unknown;
  try {
    ({ labels } = (JSON.parse(text(bytes)) ?? {}) as { labels?: unknown });
  } catch (error) {
    throw new DataError(`${where}: ${(error as Error).message}`);
  }
  if (labels === null || labels === undefined) return undefined;
  const isPair = (item: unknown): item is [string, number] =>
    Array.isArray(item) && item.length === 2 && typeof item[0] === 'string' && isClass(item[1]);
  const bad = Array.isArray(labels) ? labels.findIndex((item) => !isPair(item)) : 0;
  if (bad >= 0) throw new DataError(`${where}: labels[${bad}] is not a pair of a path and a class index`);
  return labels as [string, number][];
}

/** Undefined where there is no such file, or it has no labels (captions, say). */
function labelsFromMetadata(files: FileSet, members: readonly string[]): Labels | undefined {
  const file = METADATA_FILES.find((name) => files.names.includes(name));
  if (file === undefined) return undefined;
  const where = files.show(file);
  const rows = metadataRows(text(files.read(file)), where);
  const values = new Map<string, string>();
  for (const [i, { file_name: name, label }] of rows.entries()) {
    if (typeof name !== 'string') throw new DataError(`${where}: entry ${i + 1} has no file_name`);
    if (label === undefined || label === null || (typeof label === 'string' && label.trim() === '')) continue;
    if (typeof label !== 'string' && typeof label !== 'number') {
      throw new DataError(`${where}: entry ${i + 1} has a label that is no text and no number`);
    }
    if (typeof label === 'number' && !isClass(label)) {
      throw new DataError(`${where}: entry ${i + 1} has the label ${label}, which is no class number`);
    }
    setLabel(values, name, String(label).trim(), where);
  }
  if (values.size === 0) return undefined;
  return labelsOfValues(values, members, where);
}

/** @throws DataError for a picture that has another already */
function setLabel<L>(labels: Map<string, L>, name: string, label: L, where: string): void {
  const other = labels.get(name) ?? label;
  if (other !== label) throw new DataError(`${where}: '${name}' is of class ${other} and of class ${label}`);
  labels.set(name, label);
}

/** Class numbers as they are; names numbered in their sorted order, as folders are. */
function labelsOfValues(values: ReadonlyMap<string, string>, members: readonly string[], where: string): Labels {
  const missing = members.find((name) => !values.has(name));
  if (missing !== undefined) throw new DataError(`${where}: has no label for '${missing}'`);
  const given = new Set(members.map((name) => values.get(name)!));
  const bad = [...given].find((label) => Number.isNaN(classOf(label)));
  if (bad === undefined) return { of: (name) => classOf(values.get(name)!) };
  if ([...given].every((label) => label !== '' && !Number.isNaN(Number(label)))) {
    throw new DataError(`${where}: '${bad}' is no class number`, 'A class is a whole number from 0 on, or -1.');
  }
  const classes = [...given].sort(compareCodePoints);
  const indices = new Map(classes.map((name, index) => [name, index]));
  return { of: (name) => indices.get(values.get(name)!)!, classes };
}

function labelsGiven(list: LabelList, members: readonly string[]): Labels {
  const labels = new Map<string, string>();
  const pictures = new Map<string, string>();
  for (const name of members) {
    const found = list.of(name);
    if (!found) continue;
    const other = pictures.get(found.called);
    if (other !== undefined) {
      throw new DataError(
        `${list.where}: '${found.called}' may be ${other} or ${name}`,
        'Name them with their folders.',
      );
    }
    pictures.set(found.called, name);
    labels.set(name, found.label);
  }
  return labelsOfValues(labels, members, list.where);
}

/** Undefined where no picture has a `.cls` beside it. */
function labelsBeside(files: FileSet, members: readonly string[]): Labels | undefined {
  const companions = new Companions(files.names, '.cls');
  const labels = new Map<string, number>();
  const used = new Set<string>();
  for (const name of members) {
    const beside = companions.of(name);
    if (beside === undefined) continue;
    labels.set(name, parseClass(files.read(beside), files.show(beside)));
    used.add(beside);
  }
  const unused = companions.names.filter((name) => !used.has(name));
  const notes =
    unused.length > 0 ? [`${counted(unused.length, '.cls file')} beside no picture, such as ${unused[0]}`] : [];
  if (labels.size === 0) return notes.length > 0 ? { ...labelsFromFolders(members), notes } : undefined;
  const without = members.filter((name) => !labels.has(name));
  if (without.length > 0) {
    notes.push(`${without.length} of ${members.length} pictures have no .cls, and so no class, such as ${without[0]}`);
  }
  return { of: (name) => labels.get(name) ?? -1, notes };
}

function parseClass(bytes: Uint8Array, where: string): number {
  const label = classOf(text(bytes));
  if (!Number.isNaN(label)) return label;
  throw new DataError(`${where}: '${text(bytes)}' is no class number`, 'A class is a whole number from 0 on, or -1.');
}

function labelsFromFolders(members: readonly string[]): Labels {
  const folderOf = (name: string): string | undefined =>
    name.includes('/') ? name.slice(0, name.indexOf('/')) : undefined;
  const folders = new Set(members.map(folderOf).filter((folder) => folder !== undefined));
  const classes = [...folders].sort(compareCodePoints);
  const indices = new Map(classes.map((folder, index) => [folder, index]));
  const of = (name: string): number => indices.get(folderOf(name) ?? '') ?? -1;
  return classes.length === 0 ? { of } : { of, classes, notes: folderNotes(classes) };
}

function folderNotes(classes: readonly string[]): string[] {
  if (classes.length === 1) return [`all pictures with a class are of one: they lie in '${classes[0]}'`];
  const moved = classes.findIndex((folder, index) => /^\d+$/.test(folder) && Number(folder) !== index);
  if (moved < 0) return [];
  return [`classes are numbered in the sorted order of their folders: '${classes[moved]}' is class ${moved}`];
}
