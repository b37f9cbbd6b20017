/** Wheels, and what a Python package index of them answers, for tests. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { deflateRawSync } from 'node:zlib';
import { crc32 } from '../../../src/lib/files/crc32.js';

export interface WheelFile {
  data: string;
  /** Kind and permissions, as Unix has them. */
  mode?: number;
}

/** A zip archive of deflated members, as Python's zipfile writes it. */
export function zipOf(files: Record<string, WheelFile>): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, { data, mode = 0o100644 }] of Object.entries(files)) {
    const [raw, path] = [Buffer.from(data), Buffer.from(name)];
    const packed = deflateRawSync(raw);
    const common = Buffer.alloc(26); // what both headers say, from the version on
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE(crc32(raw), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(raw.length, 18);
    common.writeUInt16LE(path.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, path, packed]);
    const listed = Buffer.alloc(14); // comment, volume, attributes, place
    listed.writeUInt32LE(mode * 2 ** 16, 6);
    listed.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x03'), common, listed, path]));
    parts.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(directory.length, 8);
  end.writeUInt16LE(directory.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

/** A wheel `project-version-tags.whl` with its METADATA and these files. */
export interface MadeWheel {
  readonly name: string;
  readonly project: string;
  readonly metadata: string;
  readonly bytes: Buffer;
}

export function wheel(
  project: string,
  version: string,
  files: Record<string, WheelFile>,
  requires: readonly string[] = [],
  tags = 'py3-none-any',
): MadeWheel {
  const stem = `${project.replaceAll('-', '_')}-${version}`;
  const lines = ['Metadata-Version: 2.4', `Name: ${project}`, `Version: ${version}`];
  const metadata = `${[...lines, ...requires.map((each) => `Requires-Dist: ${each}`)].join('\n')}\n\nRequires-Dist: prose\n`;
  const bytes = zipOf({ ...files, [`${stem}.dist-info/METADATA`]: { data: metadata } });
  return { name: `${stem}-${tags}.whl`, project, metadata, bytes };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

export interface IndexOptions {
  /** Whether pages are JSON; else HTML. */
  json: boolean;
  /** Names of wheels whose metadata are told beside them. */
  withMetadata?: readonly string[];
  /** Breaks the first transfer of each wheel in its middle. */
  breaks?: boolean;
  /** What the index says of a wheel instead of the truth. */
  lies?: Record<string, string>;
}

/** What an index answers: always true. */
export function indexOf(wheels: readonly MadeWheel[], options: IndexOptions) {
  const { json, withMetadata = [], breaks = false, lies = {} } = options;
  const broken = new Set<string>();
  const page = (project: string): string | undefined => {
    const files = wheels.filter((each) => each.project === project);
    if (files.length === 0) return undefined;
    const listed = files.map(({ name, bytes }) => {
      return { name, hash: lies[name] ?? sha256(bytes), has: withMetadata.includes(name) };
    });
    if (!json) {
      const links = listed.map(
        ({ name, hash, has }) =>
          `<a data-requires-python="&gt;=3.9" ${has ? 'data-core-metadata="true" ' : ''}href="../../files/${name}#sha256=${hash}">${name}</a>`,
      );
      return `<!DOCTYPE html><html><body>${links.join('<br/>\n')}</body></html>`;
    }
    return JSON.stringify({
      files: listed.map(({ name, hash, has }) => {
        return {
          filename: name,
          url: `../../files/${name}`,
          hashes: { sha256: hash },
          'core-metadata': has,
          yanked: false,
        };
      }),
    });
  };
  const handle = (request: IncomingMessage, response: ServerResponse): boolean => {
    const [, folder, name] = /^\/(\w+)\/(.*?)\/?$/.exec(request.url!) ?? [];
    const made = wheels.find((each) => each.name === name.replace(/\.metadata$/, ''));
    const type = json ? 'application/vnd.pypi.simple.v1+json' : 'text/html';
    const text = folder === 'simple' ? page(name) : name.endsWith('.metadata') ? made?.metadata : undefined;
    if (text !== undefined) response.writeHead(200, { 'content-type': type }).end(text);
    else if (folder === 'files' && made) send(made, request, response);
    else response.writeHead(404).end();
    return true;
  };
  const send = ({ name, bytes }: MadeWheel, request: IncomingMessage, response: ServerResponse): void => {
    const from = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const body = bytes.subarray(from);
    response.writeHead(from ? 206 : 200, {
      'content-length': body.length,
      ...(from && { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
    });
    if (!breaks || broken.has(name)) return void response.end(body);
    broken.add(name);
    response.write(body.subarray(0, body.length >> 1), () => response.destroy());
  };
  return handle;
}
