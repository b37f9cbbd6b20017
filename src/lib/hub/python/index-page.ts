/** The files of a project in a Python package index, by its simple API: PEP 503 as HTML, PEP 691 as JSON. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { DataError, UnavailableError } from '../../errors.js';
import { request, TransientError } from '../http.js';

export interface IndexFile {
  readonly name: string;
  /** An address of http, https or file. */
  readonly url: string;
  /** Headers with the credentials for the server. */
  readonly headers: Readonly<Record<string, string>>;
  readonly sha256?: string;
  readonly size?: number;
  /** Whether the metadata of the package can be had beside it, as `url` + `.metadata`. */
  readonly hasMetadata: boolean;
  readonly yanked: boolean;
}

const JSON_TYPE = 'application/vnd.pypi.simple.v1+json';
const ACCEPT = `${JSON_TYPE}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1`;
/** Bytes that no page of a project and no metadata of a package reach. */
const LARGEST_PAGE = 64e6;

/** An address without its credentials, and these as a header. */
export function credentialsOf(address: string): { url: URL; headers: Record<string, string> } {
  const url = new URL(address);
  const { username, password } = url;
  url.username = '';
  url.password = '';
  if (!username && !password) return { url, headers: {} };
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { url, headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } };
}

/**
 * A text of an index; undefined where there is none.
 * @throws UnavailableError when the server does not answer, or with an error
 */
export async function fetchText(
  url: URL,
  headers: Record<string, string>,
): Promise<{ body: string; type: string } | undefined> {
  if (url.protocol === 'file:') {
    const file = fileURLToPath(url);
    return existsSync(file) ? { body: readFileSync(file, 'utf8'), type: 'text/html' } : undefined;
  }
  const response = await request(url.href, { headers }).catch((error) => {
    if (!(error instanceof TransientError)) throw error;
    throw new UnavailableError(
      `${url.href}: cannot be reached: ${error.message}`,
      'PIP_INDEX_URL names the index to ask, as for pip; behind a proxy, set HTTPS_PROXY.',
    );
  });
  const { statusCode = 0 } = response;
  if (statusCode === 200) {
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > LARGEST_PAGE) response.destroy(new DataError(`${url.href}: is no page of an index: it does not end`));
    });
    return { body: await text(response), type: response.headers['content-type'] ?? '' };
  }
  response.resume();
  if (statusCode === 404 || statusCode === 410) return undefined;
  throw new UnavailableError(`${url.href}: the index answers with status ${statusCode}`);
}

/** The files of a project, by its normalised name; none where the index does not have it. */
export async function projectFiles(index: string, project: string): Promise<IndexFile[]> {
  const { url: base, headers } = credentialsOf(`${index}/${project}/`);
  const page = base.protocol === 'file:' ? new URL(`${base.href}index.html`) : base;
  const found = await fetchText(page, { ...headers, accept: ACCEPT });
  if (!found) return [];
  const listed = found.type.includes('json') ? ofJson(found.body, base.href) : ofHtml(found.body);
  return listed.flatMap(({ href, ...file }) => {
    if (!URL.canParse(href, base.href)) return [];
    const { url, headers: own } = credentialsOf(new URL(href, base.href).href);
    const [, sha256] = /^#sha256=([0-9a-f]{64})$/i.exec(url.hash) ?? [];
    url.hash = '';
    // A page from the network leads to no file of this machine.
    const isAllowed = ['http:', 'https:', base.protocol].includes(url.protocol);
    const name = decodeURIComponent(path.posix.basename(url.pathname));
    const known = url.origin === base.origin ? { ...headers, ...own } : own;
    return isAllowed
      ? [{ name, url: url.href, headers: known, ...(sha256 && { sha256: sha256.toLowerCase() }), ...file }]
      : [];
  });
}

type Listed = { href: string } & Pick<IndexFile, 'hasMetadata' | 'yanked' | 'sha256' | 'size'>;

function ofJson(body: string, page: string): Listed[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    throw new DataError(`${page}: is not the JSON that it says it is`);
  }
  const { files } = parsed as { files?: unknown };
  if (!Array.isArray(files)) throw new DataError(`${page}: is no page of a Python package index`);
  return files.flatMap((file: Record<string, unknown>) => {
    const sha256 = (file?.hashes as Record<string, unknown> | undefined)?.sha256;
    if (typeof file?.url !== 'string') return [];
    return [
      {
        href: file.url,
        ...(typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256) && { sha256 }),
        ...(Number.isSafeInteger(file.size) && { size: file.size as number }),
        hasMetadata: Boolean(file['core-metadata'] ?? file['dist-info-metadata']),
        yanked: Boolean(file.yanked),
      },
    ];
  });
}

const ANCHOR = /<a((?:\s+[\w-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>"']+))?)*)\s*>/gi;
const ATTRIBUTE = /([\w-]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+)))?/g;
const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };

function ofHtml(body: string): Listed[] {
  return [...body.matchAll(ANCHOR)].flatMap(([, inside]) => {
    const attributes = new Map(
      [...inside.matchAll(ATTRIBUTE)].map(([, name, ...values]) => [
        name.toLowerCase(),
        (values.find((value) => value !== undefined) ?? '').replace(
          /&([#\w]+);/g,
          (all, entity) => ENTITIES[entity] ?? all,
        ),
      ]),
    );
    const href = attributes.get('href');
    const metadata = attributes.get('data-core-metadata') ?? attributes.get('data-dist-info-metadata');
    if (!href) return [];
    return [
      { href, hasMetadata: metadata !== undefined && metadata !== 'false', yanked: attributes.has('data-yanked') },
    ];
  });
}
