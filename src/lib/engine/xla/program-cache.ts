/** Compiled programs: those of eager tensors are kept for the next time, and all are kept on disk for the next process. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PjrtError } from './c-api.js';
import type { Client, Executable } from './client.js';

/** Programs of eager tensors that are kept. */
const KEPT = 64;
/** Programs that compile faster than this (ms) are not worth a file. */
const WORTH_KEEPING = 500;

/** Told when a program that is not on disk begins to be compiled, and when it is there. */
export type CompilationListener = (event: { bytes: number } | { milliseconds: number }) => void;

export class ProgramCache {
  /** Oldest use first. */
  readonly #eager = new Map<string, Executable>();
  readonly #client: Client;
  readonly #folder: string | null;
  readonly #plugin: string;
  listener: CompilationListener | null = null;

  /** @param folder where programs are kept; null for nowhere */
  constructor(client: Client, folder: string | null) {
    this.#client = client;
    this.#folder = folder;
    const { size, mtimeMs } = statSync(client.plugin);
    const devices = client.devices.map(({ kind }) => kind);
    // Programs are for one build of one plugin, and for devices of one kind.
    this.#plugin = JSON.stringify([
      client.platform,
      client.platformVersion,
      client.api.version,
      size,
      mtimeMs,
      devices,
    ]);
  }

  /** A program that may be asked for again. It belongs to the cache. */
  eager(text: string): Executable {
    const key = createHash('sha256').update(text).digest('base64');
    const executable = this.#eager.get(key) ?? this.#client.compile(text);
    this.#eager.delete(key);
    this.#eager.set(key, executable);
    if (this.#eager.size > KEPT) {
      const [oldest, unused] = this.#eager.entries().next().value!;
      this.#eager.delete(oldest);
      unused.dispose();
    }
    return executable;
  }

  /** A program, from disk if it was compiled before. It belongs to the caller. */
  compile(text: string, replicas = 1): Executable {
    const file = this.#fileOf(text, replicas);
    const found = file && this.#load(file, replicas);
    if (found) return found;
    this.listener?.({ bytes: text.length });
    const started = performance.now();
    const executable = this.#client.compile(text, replicas);
    const milliseconds = performance.now() - started;
    this.listener?.({ milliseconds });
    if (file && milliseconds >= WORTH_KEEPING) store(file, executable.serialise());
    return executable;
  }

  clear(): void {
    for (const executable of this.#eager.values()) executable.dispose();
    this.#eager.clear();
  }

  #fileOf(text: string, replicas: number): string | null {
    if (!this.#folder) return null;
    const key = createHash('sha256')
      .update(JSON.stringify([this.#plugin, replicas]))
      .update(text)
      .digest('hex');
    return path.join(this.#folder, `${key}.pjrt`);
  }

  #load(file: string, replicas: number): Executable | null {
    const stored = read(file);
    if (!stored) return null;
    try {
      return this.#client.load(stored, replicas);
    } catch (error) {
      if (!(error instanceof PjrtError)) throw error;
      rmSync(file, { force: true }); // of a plugin that says it is the same, and is not
      return null;
    }
  }
}

/** The bytes that `store` wrote, if they are whole: a hash goes before them, for a plugin trusts what it is given. */
function read(file: string): Uint8Array | null {
  let stored: Buffer;
  try {
    stored = readFileSync(file);
  } catch {
    return null;
  }
  const body = stored.subarray(32);
  return createHash('sha256').update(body).digest().equals(stored.subarray(0, 32)) ? body : null;
}

/** Whole or not at all. A cache that cannot be written is no reason to stop. */
function store(file: string, body: Uint8Array | null): void {
  if (!body) return;
  const temporary = `${file}.${process.pid}`;
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(temporary, Buffer.concat([createHash('sha256').update(body).digest(), body]));
    renameSync(temporary, file);
  } catch {
    rmSync(temporary, { force: true });
  }
}
