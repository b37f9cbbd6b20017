/**
 * What a file or a folder holds and how it was made, by its content, or by its name where the content does not tell.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { DataError } from '../errors.js';
import { missingInput } from '../files/missing.js';
import { BinaryFile } from '../formats/binary-file.js';
import { isNpy } from '../formats/npy.js';
import { isParquet } from '../formats/parquet.js';
import { TAR_BLOCK } from '../formats/tar.js';
import { weightsFormat } from '../formats/weights-file.js';
import { openZip } from '../formats/zip.js';
import { isImageFolder } from '../images/open-images.js';
import { pictureFormat, SIGNATURE_BYTES } from '../images/signature.js';
import { isTarName, isTarPattern } from '../images/tar-files.js';
import { isStreamFile } from '../stream/is-stream.js';
import { checkpointSteps } from '../training/checkpoint.js';
import type { Facts } from './facts.js';
import { onnxFacts } from './networks.js';
import { parquetFacts, pictureFacts, pictureFolderFacts, tarFacts, zipFacts } from './pictures.js';
import { checkpointFacts, eventFacts, eventFiles, linesFacts } from './runs.js';
import { npyFacts, npzFacts, safetensorsFacts, tensorFileFacts, tensorStreamFacts, torchFacts } from './tensors.js';

/**
 * @param input a path, or '-' for a stream on stdin
 * @throws MissingInputError when nothing is there; DataError when it is damaged or of no kind that is known
 */
export async function describe(input: string): Promise<Facts> {
  if (input === '-') return tensorStreamFacts(input);
  if (isTarPattern(input)) return tarFacts(input);
  if (!existsSync(input)) throw missingInput(input, 'file or folder');
  const stat = statSync(input);
  if (stat.isDirectory()) return describeFolder(input);
  return stat.isFile() ? describeFile(input) : tensorStreamFacts(input); // a pipe, such as <(command)
}

async function describeFolder(folder: string): Promise<Facts> {
  if (existsSync(path.join(folder, 'config.json')) || checkpointSteps(folder).length > 0)
    return checkpointFacts(folder);
  if (isParquet(folder)) return parquetFacts(folder);
  const events = eventFiles(folder);
  if (events.length > 0) return eventFacts(folder, events);
  if (existsSync(path.join(folder, 'data.mdb'))) throw lmdb(folder);
  if (existsSync(path.join(folder, 'log.ndjson'))) return linesFacts(path.join(folder, 'log.ndjson'));
  const isStream = readdirSync(folder).length === 0 || !isImageFolder(folder);
  return isStream ? tensorFileFacts(folder) : pictureFolderFacts(folder);
}

const LMDB_WAY =
  'Write its pictures to a tar or a folder with the library that made it: docs/own-pictures.md has the lines.';
const lmdb = (where: string): DataError => new DataError(`${where}: is an LMDB, which is not read`, LMDB_WAY);

/** Bytes at the start of a file that tell what it is. */
const START = TAR_BLOCK;
/** Where a tar has its mark. */
const USTAR = 257;

async function describeFile(file: string): Promise<Facts> {
  if (isStreamFile(file)) return tensorFileFacts(file);
  const start = startOf(file);
  const latin = start.toString('latin1');
  if (isNpy(start)) return npyFacts(file);
  if (latin.startsWith('PAR1')) return parquetFacts(file);
  if (latin.startsWith('PK')) return describeZip(file);
  const isTar = latin.slice(USTAR, USTAR + 5) === 'ustar' || isTarName(file);
  if (isTar) return tarFacts(file);
  if (path.basename(file).includes('tfevents')) return eventFacts(file);
  if (file.toLowerCase().endsWith('.onnx')) return onnxFacts(file);
  if (path.basename(file) === 'data.mdb') throw lmdb(file);
  if (pictureFormat(start.subarray(0, SIGNATURE_BYTES))) return (await pictureFacts(file))!;
  if (start[0] === 0x7b) return linesFacts(file);
  return weightsFormat(file) === 'torch' ? torchFacts(file) : safetensorsFacts(file);
}

function describeZip(file: string): Facts | Promise<Facts> {
  const archive = openZip(file, { withoutCrcs: true });
  const names = [...archive.entries.keys()];
  archive.close();
  if (names.length > 0 && names.every((name) => name.endsWith('.npy'))) return npzFacts(file);
  return names.some((name) => name.endsWith('/data.pkl')) ? torchFacts(file) : zipFacts(file);
}

function startOf(path: string): Buffer {
  const file = new BinaryFile(path);
  try {
    return Buffer.from(file.read(0, Math.min(START, file.size)).buffer);
  } finally {
    file.close();
  }
}
