/** A place to run verbs in: `run/`, beside `base/`, where what they read is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Outcome, PROGRAM, repa } from '../commands/binary.js';
import { type Input, recipeOf, SERVERS, type Served } from './inputs.js';
import type { VerbCase } from './verbs.js';

export class Ground {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'repa-faults-'));
  readonly #made = new Set<string>();
  readonly #servers: Served[] = [];

  constructor() {
    mkdirSync(this.base);
  }

  get base(): string {
    return path.join(this.folder, 'base');
  }

  /** Where verbs run: empty again after `clear`. */
  get cwd(): string {
    return path.join(this.folder, 'run');
  }

  /** What the shim writes to when a fault has happened. */
  get told(): string {
    return path.join(this.folder, 'told');
  }

  async prepare(needs: readonly Input[]): Promise<void> {
    for (const name of needs) {
      if (this.#made.has(name)) continue;
      this.#made.add(name);
      const recipe = recipeOf(name);
      if (recipe === undefined) {
        this.#servers.push(await SERVERS[name as keyof typeof SERVERS]());
        continue;
      }
      await this.prepare((recipe.needs ?? []) as readonly Input[]);
      await recipe.make?.(this.base);
      if (!recipe.args) continue;
      const { code, stderr } = await repa(recipe.args, { cwd: this.base });
      if (code !== 0) throw new Error(`${recipe.args.join(' ')}: ${stderr}`);
    }
  }

  clear(): void {
    rmSync(this.cwd, { recursive: true, force: true });
    rmSync(this.told, { force: true });
    mkdirSync(this.cwd);
  }

  run({ args }: VerbCase, env: Record<string, string> = {}): Promise<Outcome> {
    return repa(args, { cwd: this.cwd, env: { ...this.#environment(), ...env } });
  }

  /** Without waiting for its end. */
  start({ args }: VerbCase): { process: ChildProcess; ended: Promise<NodeJS.Signals | null> } {
    const env = { ...process.env, ...this.#environment() };
    const child = spawn(process.execPath, [PROGRAM, ...args], { cwd: this.cwd, env, stdio: 'ignore' });
    return { process: child, ended: new Promise((resolve) => child.on('close', (_, signal) => resolve(signal))) };
  }

  /** No cache and no account of this machine. */
  #environment(): Record<string, string> {
    const folders = {
      REPA_HOME: path.join(this.cwd, '.repa'),
      HF_HOME: path.join(this.cwd, 'hf'),
      HF_HUB_CACHE: path.join(this.cwd, 'hf/hub'),
    };
    return Object.assign(folders, ...this.#servers.map(({ env }) => env));
  }

  remove(): void {
    for (const server of this.#servers) server.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
