/** What repa can use of this machine, and why the rest is missing. */
import { execFile } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { BackendName } from '../engine/index.js';
import { bestBackend } from '../engine/select.js';
import { isGpuVisible } from '../engine/tensorflow/start.js';
import { installedPlugins } from '../engine/xla/plugin.js';
import { RepaError } from '../errors.js';
import { machineMemory } from '../files/space.js';
import { coresPerProcess, mpiRank } from '../parallel/environment.js';
import { openMpiLibrary } from '../parallel/mpi-library.js';
import type { Shard } from '../stream/shards.js';
import { version } from '../version.js';

/** Something that is missing or broken, and what to do about it. */
export interface Problem {
  works: false;
  problem: string;
  hint?: string;
}

export type BackendFacts = { name: BackendName } & (
  | {
      works: true;
      version: string;
      /** Measured speed of f32 matrix products. */
      gflops: number;
      /** Measured speed of bf16 products, where they can be chosen. */
      gflops_bf16?: number;
      /** The units of the processor that compute them. */
      units?: string;
      /** The file of the plugin, and its devices, with their memory where it tells. */
      plugin?: string;
      devices?: { kind: string; memory_bytes?: number }[];
    }
  | Problem
);

export interface Diagnosis {
  repa: string;
  node: string;
  platform: string;
  processor: string;
  cores: number;
  /** Threads of the tensor engine by default. */
  threads: number;
  memory_bytes: number;
  free_bytes: number;
  /** Whether the driver of an NVIDIA card is there. */
  gpu: boolean;
  /** The backend that `--backend auto` selects here. */
  backend: BackendName;
  backends: BackendFacts[];
  mpi: { works: true; library: string; version: string } | Problem;
  /** The installed PJRT plugins; xla takes the first where none is named. */
  plugins: { file: string; from: string }[];
  /** The place of this process in an MPI launch, if it is in one. */
  rank: Shard | undefined;
}

/** Takes a few seconds: each backend that is installed is started, and measured. */
export async function diagnose(): Promise<Diagnosis> {
  const threads = coresPerProcess();
  const backends: BackendFacts[] = [];
  // One after the other: at once, they would slow each other down.
  for (const name of ['onnx', 'xla', 'webgpu', 'tensorflow', 'tensorflow-gpu'] as const)
    backends.push(await probe(name, threads));
  return {
    repa: version,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processor: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    threads,
    memory_bytes: machineMemory(),
    free_bytes: os.freemem(),
    gpu: isGpuVisible(),
    backend: await bestBackend(),
    backends,
    plugins: installedPlugins(),
    mpi: mpiFacts(),
    rank: mpiRank(),
  };
}

const PROBE = fileURLToPath(new URL('backend-probe.js', import.meta.url));

async function probe(name: BackendName, threads: number): Promise<BackendFacts> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [PROBE, name, String(threads)]);
    return JSON.parse(stdout);
  } catch (error) {
    const { code, signal, stderr } = error as { code?: number; signal?: string; stderr?: string };
    const lastWords = stderr?.trim().split('\n').at(-1);
    return { name, works: false, problem: `it ends its process (${signal ?? `exit ${code}`})`, hint: lastWords };
  }
}

function mpiFacts(): Diagnosis['mpi'] {
  try {
    const { file, version } = openMpiLibrary();
    return { works: true, library: file, version };
  } catch (error) {
    if (!(error instanceof RepaError)) throw error;
    return { works: false, problem: error.message, hint: error.hint };
  }
}
