/** HTTP requests by Node's own client, through the proxies that the environment names. */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import { UnavailableError } from '../errors.js';

export interface RequestOptions {
  method?: 'GET' | 'HEAD';
  headers?: Readonly<Record<string, string>>;
}

/** A server that is silent for so long counts as gone. */
const IDLE_MS = 30_000;
const MOST_REDIRECTS = 10;

/** An error after which another attempt may succeed. */
export class TransientError extends Error {
  /** The wait that the server asked for, in milliseconds. */
  constructor(
    message: string,
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/**
 * Sends a request and follows redirects, until a response is none or `enough` says that it will do. Credentials stay
 * with the origin that they are for: its scheme, its host and its port.
 * @throws TransientError when no response comes; UnavailableError for redirects without an end, or to no address
 */
export async function request(
  target: string,
  { method = 'GET', headers = {} }: RequestOptions = {},
  enough: (response: http.IncomingMessage) => boolean = () => false,
): Promise<http.IncomingMessage> {
  let url = new URL(target);
  let sent = { ...headers };
  for (let hop = 0; hop <= MOST_REDIRECTS; hop++) {
    const response = await send(url, method, sent);
    const { location } = response.headers;
    if (!isRedirect(response) || location === undefined || enough(response)) return response;
    response.resume(); // its body is of no interest
    const next = addressOf(location, url, target);
    if (next.origin !== url.origin) sent = without(sent, 'authorization');
    url = next;
  }
  throw new UnavailableError(`${target}: redirects without an end`);
}

/** Where a redirect leads. */
function addressOf(location: string, from: URL, target: string): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  if (next && (next.protocol === 'https:' || next.protocol === 'http:')) return next;
  throw new UnavailableError(`${target}: redirects to ${JSON.stringify(location.slice(0, 200))}, which is no address`);
}

const isRedirect = ({ statusCode = 0 }: http.IncomingMessage): boolean =>
  [301, 302, 303, 307, 308].includes(statusCode);

const without = (headers: Record<string, string>, name: string): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([key]) => key.toLowerCase() !== name));

async function send(url: URL, method: string, headers: Record<string, string>): Promise<http.IncomingMessage> {
  const proxy = proxyFor(url);
  const common = { method, headers: { ...headers, 'accept-encoding': 'identity' }, timeout: IDLE_MS };
  if (url.protocol === 'https:') {
    const tunnel = proxy && (await openTunnel(proxy, url));
    return answer(https.request(url, { ...common, ...(tunnel && { createConnection: () => tunnel }) }), url);
  }
  if (!proxy) return answer(http.request(url, common), url);
  const throughProxy = { ...common.headers, host: url.host, ...credentials(proxy) };
  return answer(clientFor(proxy).request(proxy, { ...common, headers: throughProxy, path: url.href }), url);
}

const clientFor = ({ protocol }: URL): typeof http | typeof https => (protocol === 'https:' ? https : http);

function answer(sent: http.ClientRequest, url: URL): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    sent.on('timeout', () => sent.destroy(new Error(`no word for ${IDLE_MS / 1000} s`)));
    sent.on('error', (error) => reject(new TransientError(`${url.host}: ${error.message}`)));
    sent.on('response', resolve);
    sent.end();
  });
}

/** A TLS connection to `target` through a proxy's CONNECT. */
function openTunnel(proxy: URL, target: URL): Promise<Socket> {
  const place = `${target.hostname}:${target.port || 443}`;
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new TransientError(`proxy ${proxy.host}: ${why}`));
    const connect = clientFor(proxy).request(proxy, {
      method: 'CONNECT',
      path: place,
      headers: { host: place, ...credentials(proxy) },
      timeout: IDLE_MS,
      agent: false,
    });
    connect.on('timeout', () => connect.destroy(new Error(`no word for ${IDLE_MS / 1000} s`)));
    connect.on('error', (error) => fail(error.message));
    connect.on('connect', ({ statusCode }, socket) => {
      if (statusCode === 200) resolve(tls.connect({ socket, servername: target.hostname }));
      else fail(`refuses ${place} with status ${statusCode}`);
    });
    connect.end();
  });
}

function credentials({ username, password }: URL): Record<string, string> {
  if (!username) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY (or the same in lower case) choose for a URL. */
export function proxyFor({ protocol, hostname, port }: URL, env: NodeJS.ProcessEnv = process.env): URL | undefined {
  const variable = (name: string): string | undefined => env[name.toLowerCase()] || env[name];
  const proxy = variable(protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') ?? variable('ALL_PROXY');
  if (!proxy || isExempt(hostname, port || (protocol === 'https:' ? '443' : '80'), variable('NO_PROXY')))
    return undefined;
  return new URL(proxy.includes('://') ? proxy : `http://${proxy}`);
}

/** NO_PROXY lists hosts, each meaning its subdomains as well, with or without a port; `*` is all of them. */
function isExempt(hostname: string, port: string, list = ''): boolean {
  return list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .some((entry) => {
      const [, host, only] = /^\.?(.*?)(?::(\d+))?$/.exec(entry)!;
      if (only !== undefined && only !== port) return false;
      return host === '*' || hostname === host || hostname.endsWith(`.${host}`);
    });
}
