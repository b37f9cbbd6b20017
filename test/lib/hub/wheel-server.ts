/** A Python package index of wheels, on loopback. */
import { serveFile } from '../../file-server.js';
import { type IndexOptions, indexOf, type MadeWheel } from './wheels.js';

/** An index on loopback; `asked` lists what it was asked for, with the authorization. */
export async function serveIndex(wheels: readonly MadeWheel[], options: IndexOptions) {
  const server = await serveFile(new Uint8Array(), { handle: indexOf(wheels, options) });
  return { address: `http://reader:s%40fe@127.0.0.1:${server.port}/simple/`, asked: server.requests };
}
