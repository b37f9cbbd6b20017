/** One hash of the content of all files of a set of images, whatever their names and places. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { writeFileAtomic } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { sha256Of, sha256OfText } from '../files/sha256.js';
import { isParquet, parquetFiles } from '../formats/parquet.js';
import { listImages } from '../images/list.js';
import { isImageFolder } from '../images/open-images.js';
import { archivesOf, isTarPattern } from '../images/tar-files.js';
import { listParts } from '../stream/shards.js';

/** A file that changed this shortly before it was read may change again and keep its time stamp. */
const SETTLED_MS = 2000;

/**
 * SHA-256 over the hashes of all files of `input`, in the order in which they are read. It is kept in `folder` under
 * the files' paths, sizes and times: as long as these stay as they are, the files are not read again. The time of the
 * last change of a file's entry is among them, which no program can set back.
 * @param input as openImages takes it, not a pipe
 */
export async function contentHash(input: string, folder: string): Promise<string> {
  const files = filesOf(input);
  const { text, newest } = fingerprint(files);
  const known = path.join(folder, `content-${sha256OfText(text).slice(0, 32)}`);
  if (existsSync(known)) return readFileSync(known, 'utf8');
  const before = Date.now();
  const hashes: string[] = [];
  // A file that cannot be read is named when the images are.
  for (const file of files) hashes.push(await sha256Of(file).catch(() => 'unreadable'));
  const hash = sha256OfText(hashes.join('\n'));
  if (newest < before - SETTLED_MS && fingerprint(files).text === text) keep(known, hash);
  return hash;
}

function filesOf(input: string): string[] {
  if (isTarPattern(input)) return archivesOf(input);
  if (isParquet(input)) return parquetFiles(input);
  if (isImageFolder(input)) return listImages(input).map((image) => image.path);
  if (statSync(input).isDirectory()) return listParts(input).map((part) => path.join(input, part));
  return [input];
}

/** The state of files without their content, and when the newest of them was changed. */
function fingerprint(files: readonly string[]): { text: string; newest: number } {
  let newest = 0;
  const lines = files.map((file) => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
    if (!stat) return `${file}\0`;
    newest = Math.max(newest, Number(stat.ctimeMs), Number(stat.mtimeMs));
    return [path.resolve(file), stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join('\0');
  });
  return { text: lines.join('\n'), newest };
}

/** Without it, the files are read again next time. */
function keep(file: string, hash: string): void {
  try {
    makeFolder(path.dirname(file));
    writeFileAtomic(file, hash);
  } catch {
    // A full disk or a folder without permission: the one that keeps the statistics reports it.
  }
}
