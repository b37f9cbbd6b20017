/** Compiled graphs by structure: the same operations on the same shapes compile once. */
import { createHash } from 'node:crypto';
import { encodeModel, type OnnxGraph } from './model.js';
import { Session } from './session.js';

export class SessionCache {
  /** Oldest use first. */
  readonly #sessions = new Map<string, Session>();
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#sessions.size;
  }

  get(graph: OnnxGraph, threads: number): Session {
    const model = encodeModel(graph);
    const key = createHash('sha1').update(model).digest('base64');
    const session = this.#sessions.get(key) ?? new Session(graph, model, { threads, reused: false });
    this.#sessions.delete(key);
    this.#sessions.set(key, session);
    if (this.#sessions.size > this.#capacity) this.#evictOldest();
    return session;
  }

  clear(): void {
    while (this.#sessions.size > 0) this.#evictOldest();
  }

  #evictOldest(): void {
    const [key, session] = this.#sessions.entries().next().value!;
    this.#sessions.delete(key);
    session.dispose();
  }
}
