/**
 * Compiled programs: those of eager tensors are kept for the next time, and all are kept on disk for the next process.
 */
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { makeFolder } from '../../files/folders.js';
import { compilationBegins } from '../compilation.js';
import { PjrtError } from './c-api.js';
import type { Client, Executable } from './client.js';
import { compileOptions } from './compile-options.js';

/** Programs without a user that are kept. */
const KEPT = 64;
/** Programs that compile faster than this (ms) are not worth a file. */
const WORTH_KEEPING = 500;

interface Entry {
  readonly executable: Executable;
  users: number;
}

export class ProgramCache {
  /** By what they were compiled of; oldest use first. */
  readonly #entries = new Map<string, Entry>();
  readonly #client: Client;
  readonly #folder: string | null;
  readonly #plugin: string;

  readonly #worthKeeping: number;

  /**
   * @param folder where programs are kept; null for nowhere
   * @param worthKeeping those that took so long (ms) to compile
   */
  constructor(client: Client, folder: string | null, worthKeeping = WORTH_KEEPING) {
    this.#worthKeeping = worthKeeping;
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
      process.env.XLA_FLAGS ?? '',
      process.env.LIBTPU_INIT_ARGS ?? '',
    ]);
  }

  /** A compiled program; whoever is done with it says `release`. */
  acquire(text: string, replicas = 1): Executable {
    const key = createHash('sha256')
      .update(JSON.stringify([this.#plugin, replicas]))
      .update(compileOptions(replicas, this.#client.flags))
      .update(text)
      .digest('hex');
    const entry = this.#entries.get(key) ?? { executable: this.#make(key, text, replicas), users: 0 };
    entry.users++;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.executable;
  }

  release(executable: Executable): void {
    for (const entry of this.#entries.values()) if (entry.executable === executable) entry.users--;
    this.#drop(this.#entries.size - KEPT);
  }

  /** Lets go of all programs that nobody uses. */
  clear(): void {
    this.#drop(this.#entries.size);
  }

  /** Ends so many programs without a user, the oldest first. */
  #drop(count: number): void {
    const unused = [...this.#entries].filter(([, { users }]) => users === 0);
    for (const [key, { executable }] of unused.slice(0, Math.max(count, 0))) {
      this.#entries.delete(key);
      executable.dispose();
    }
  }

  /** From disk if it was compiled before. */
  #make(key: string, text: string, replicas: number): Executable {
    const file = this.#folder && path.join(this.#folder, `${key}.pjrt`);
    const found = file && this.#load(file, replicas);
    if (found) return found;
    const done = compilationBegins(text.length);
    const started = performance.now();
    const executable = this.#client.compile(text, replicas);
    const milliseconds = performance.now() - started;
    done(milliseconds);
    if (file && milliseconds >= this.#worthKeeping) store(file, executable.serialise());
    return executable;
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
    makeFolder(path.dirname(file));
    writeFileSync(temporary, Buffer.concat([createHash('sha256').update(body).digest(), body]));
    renameSync(temporary, file);
  } catch {
    rmSync(temporary, { force: true });
  }
}
