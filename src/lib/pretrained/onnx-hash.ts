/** What an ONNX network holds, as one hash: the weights that lie in files beside it, too. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { sha256Of, sha256OfText } from '../files/sha256.js';

/** How an entry `location` of a tensor's external_data begins: two fields of StringStringEntryProto (onnx.proto3). */
const LOCATION = Buffer.from('\x0a\x08location\x12', 'latin1');

/** SHA-256 of the file, or where weights lie outside it, over its own and theirs in the order of their names. */
export async function onnxHash(file: string): Promise<string> {
  const own = await sha256Of(file);
  const beside = externalFiles(readFileSync(file)); // protobuf bounds it to 2 GiB
  if (beside.length === 0) return own;
  const hashes = [own];
  for (const name of beside) hashes.push(name, await hashBeside(path.dirname(file), name));
  return sha256OfText(hashes.join('\n'));
}

/** Weights lie in the folder of their model. One that is not there is named when the network is opened. */
async function hashBeside(folder: string, name: string): Promise<string> {
  const file = path.resolve(folder, name);
  const isInside = file.startsWith(path.resolve(folder) + path.sep);
  // A name that leads elsewhere, or to what never ends, is not followed.
  if (!isInside || !statSync(file, { throwIfNoEntry: false })?.isFile()) return 'absent';
  return sha256Of(file);
}

function externalFiles(model: Buffer): string[] {
  const names = new Set<string>();
  for (let at = model.indexOf(LOCATION); at >= 0; at = model.indexOf(LOCATION, at + 1)) {
    const start = at + LOCATION.length;
    const first = model[start];
    const [length, skip] = first < 0x80 ? [first, 1] : [(first & 0x7f) + (model[start + 1] << 7), 2]; // a varint
    names.add(model.toString('utf8', start + skip, start + skip + length));
  }
  return [...names].sort();
}
