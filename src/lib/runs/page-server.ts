/** Serves the page of runs to this machine alone. */
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { RepaError, UnavailableError } from '../errors.js';
import { runPage } from './page.js';
import type { RunFolder } from './run-folder.js';
import type { Facts, RunChange, RunView } from './run-view.js';

const LOOPBACK = '127.0.0.1';
/** Host names of this machine. A request with another one comes from a foreign page (DNS rebinding). */
const OWN_NAMES = new Set(['127.0.0.1', 'localhost', '[::1]']);

/**
 * What a page has seen of a run, as it tells when it asks for more: how many lines, and of which reading of the log.
 */
interface Seen {
  generation: number;
  lines: number;
}

/** A run with all lines of its log so far, for every page that opens. */
class FollowedRun {
  #view: RunView;
  #generation = 0;

  constructor(
    readonly folder: RunFolder,
    readonly index: number,
  ) {
    this.#view = { name: folder.name, config: null, lines: [], pictures: [] };
  }

  /** @throws DataError for a line of the log that is no JSON object */
  view(): RunView {
    const { replaced, lines, ...rest } = this.folder.changes((file) => `picture/${this.index}/${file}`);
    if (replaced) this.#generation++;
    this.#view = { ...rest, lines: replaced ? lines : [...this.#view.lines, ...lines] };
    return this.#view;
  }

  /** What a page that has seen `seen` lacks. */
  since({ generation, lines }: Seen): RunChange & { generation: number } {
    const view = this.view();
    const replaced = generation !== this.#generation;
    return { ...view, lines: replaced ? view.lines : view.lines.slice(lines), replaced, generation: this.#generation };
  }
}

/** What pages show. */
interface Served {
  readonly runs: readonly FollowedRun[];
  readonly results: readonly Facts[];
}

/**
 * Starts serving.
 * @param port 0 for any that is free
 * @param results lines of --json of fid, cknna and probe
 * @returns the address to open
 * @throws UnavailableError when the port is taken
 */
export async function servePage(
  folders: readonly RunFolder[],
  port: number,
  results: readonly Facts[] = [],
): Promise<{ address: string; server: Server }> {
  const runs = folders.map((folder, index) => new FollowedRun(folder, index));
  const server = createServer((request, response) => {
    const { status = 200, type, body, headers } = replyOrReason({ runs, results }, request);
    response.writeHead(status, {
      'Content-Type': type,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      ...headers,
    });
    response.end(body);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, LOOPBACK, resolve);
  }).catch((error: NodeJS.ErrnoException) => {
    throw new UnavailableError(
      `port ${port} cannot be used: ${error.code === 'EADDRINUSE' ? 'another program has it' : error.message}`,
      'Choose another with --port, or 0 for any that is free.',
    );
  });
  const address = server.address() as { port: number };
  return { address: `http://${LOOPBACK}:${address.port}/`, server };
}

const isOfFileSystem = (error: unknown): error is Error => (error as NodeJS.ErrnoException).syscall !== undefined;

interface Reply {
  /** 200 unless given. */
  status?: number;
  type: string;
  body: string | Buffer;
  headers?: Record<string, string>;
}

/** The reply, or the reason why a run cannot be read now: the page shows it and asks again. */
function replyOrReason(served: Served, request: IncomingMessage): Reply {
  try {
    return reply(served, request);
  } catch (error) {
    if (error instanceof RepaError || isOfFileSystem(error)) return refusal(500, error.message);
    throw error;
  }
}

const refusal = (status: number, body: string): Reply => ({ status, type: 'text/plain; charset=utf-8', body });

function reply({ runs, results }: Served, { headers, method, url = '/' }: IncomingMessage): Reply {
  const name = (headers.host ?? '').replace(/:\d+$/, '');
  if (!OWN_NAMES.has(name)) return refusal(403, 'this page is for this machine');
  if (method !== 'GET') return refusal(405, 'only GET');
  if (!URL.canParse(url, `http://${LOOPBACK}`)) return refusal(400, 'no such page');
  const { pathname, searchParams } = new URL(url, `http://${LOOPBACK}`);
  if (pathname === '/') return emptyPage({ runs, results });
  if (pathname === '/changes') {
    const changes = runs.map((run, i) => run.since(seenOf(searchParams.get(String(i)))));
    return { type: 'application/json', body: JSON.stringify(changes) };
  }
  const [, index, file] = /^\/picture\/(\d+)\/([^/]+)$/.exec(pathname) ?? [];
  const body = file === undefined ? undefined : runs[Number(index)]?.folder.picture(file);
  return body ? { type: 'image/png', body } : refusal(404, 'no such page');
}

/** The page without lines, which shows at once and then asks for them. */
function emptyPage({ runs, results }: Served): Reply {
  const views = runs.map(({ folder }) => ({ name: folder.name, config: null, lines: [], pictures: [] }));
  const title = views.map(({ name }) => name).join(', ');
  const { html, policy } = runPage({ title, live: true, runs: views, results, pictures: [] });
  return { type: 'text/html; charset=utf-8', body: html, headers: { 'Content-Security-Policy': policy } };
}

function seenOf(text: string | null): Seen {
  const [generation, lines] = (text ?? '').split('.').map(Number);
  return Number.isSafeInteger(generation) && Number.isSafeInteger(lines)
    ? { generation, lines }
    : { generation: -1, lines: 0 };
}
