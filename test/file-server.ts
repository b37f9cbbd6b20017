/** A web server on loopback that serves a file, well or badly, for the tests of downloads. */

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { connect } from 'node:net';
import { after } from 'node:test';
import { fixturePath } from './support.js';

export interface Behaviour {
  /** Breaks the connection after so many bytes of the body, as often as there are numbers. */
  drops?: number[];
  /** Answers with these statuses first. */
  statuses?: number[];
  /** Ignores Range. */
  noRanges?: boolean;
  /** What Content-Length says, if not the truth. */
  claims?: number;
  /** Turns a bit of each of the first so many bodies. */
  corrupt?: number;
  etag?: string;
}

export interface FileServer {
  readonly url: string;
  readonly port: number;
  /** What was asked for, in order. */
  readonly requests: { method: string; path: string; headers: IncomingMessage['headers'] }[];
}

export interface FileServerOptions extends Behaviour {
  tls?: boolean;
  /** Answers instead of the file, where it returns true. */
  handle?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** Serves `body` at every path, until the test file ends. */
export async function serveFile(body: Uint8Array, options: FileServerOptions = {}): Promise<FileServer> {
  const requests: FileServer['requests'] = [];
  const drops = [...(options.drops ?? [])];
  const statuses = [...(options.statuses ?? [])];
  let corrupt = options.corrupt ?? 0;
  const answer: RequestListener = (request, response) => {
    requests.push({ method: request.method!, path: request.url!, headers: request.headers });
    if (options.handle?.(request, response)) return;
    const status = statuses.shift();
    if (status !== undefined) return void response.writeHead(status, { 'retry-after': '0' }).end();
    const [, from] = (!options.noRanges && /^bytes=(\d+)-$/.exec(request.headers.range ?? '')) || [];
    const condition = request.headers['if-range'];
    const start = from === undefined || (condition !== undefined && condition !== options.etag) ? 0 : Number(from);
    if (start > 0 && start >= body.length) return void response.writeHead(416).end();
    const sent = Buffer.from(body.subarray(start));
    if (corrupt-- > 0) sent[0] ^= 1;
    response.writeHead(start > 0 ? 206 : 200, {
      'content-length': options.claims ?? sent.length,
      ...(options.etag && { etag: options.etag }),
      ...(start > 0 && { 'content-range': `bytes ${start}-${body.length - 1}/${body.length}` }),
    });
    // A promise of more than there is would keep the connection waiting: it ends like one that is dropped.
    const limit = drops.shift() ?? (options.claims === undefined ? undefined : sent.length);
    if (limit === undefined) return void response.end(sent);
    response.write(sent.subarray(0, limit), () => setTimeout(() => response.destroy(), 20));
  };
  const server = options.tls ? createTlsServer({ key: pem('key'), cert: pem('cert') }, answer) : createServer(answer);
  const port = await listen(server);
  return { url: `${options.tls ? 'https' : 'http'}://127.0.0.1:${port}`, port, requests };
}

const pem = (name: string): Buffer => readFileSync(fixturePath(`tls/${name}.pem`));

/** The certificate that the servers show, for NODE_EXTRA_CA_CERTS. */
export const CERTIFICATE = fixturePath('tls/cert.pem');

/** A proxy that takes everything to one port of this machine; `seen` lists what it was asked for. */
export async function serveProxy(
  port: number,
): Promise<{ url: string; seen: string[]; authorizations: (string | undefined)[] }> {
  const seen: string[] = [];
  const authorizations: (string | undefined)[] = [];
  const proxy = createServer((request, response) => {
    seen.push(request.url!);
    authorizations.push(request.headers['proxy-authorization']);
    const { pathname, host } = new URL(request.url!);
    response.end(`${host}${pathname}`);
  });
  proxy.on('connect', (request: IncomingMessage, socket: Socket) => {
    seen.push(request.url!);
    authorizations.push(request.headers['proxy-authorization']);
    const target = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    for (const end of [socket, target]) end.on('error', () => {});
  });
  return { url: `http://127.0.0.1:${await listen(proxy)}`, seen, authorizations };
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}
