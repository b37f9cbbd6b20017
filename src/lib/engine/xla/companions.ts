/** Libraries that a plugin needs, loaded ahead of it. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { koffi } from '../../foreign-functions.js';
import { entries } from './plugin.js';

/**
 * Loads the libraries of the accelerator's maker that were installed beside a plugin, as Python packages of their own
 * (`nvidia/...`), so that the plugin finds them without LD_LIBRARY_PATH. What does not load is left to the plugin,
 * which says what it misses.
 */
export function loadCompanions(plugin: string): void {
  const packages = path.resolve(path.dirname(plugin), '..', '..');
  const maker = path.join(packages, 'nvidia');
  let waiting = entries(maker)
    .flatMap((folder) => entries(path.join(folder, 'lib')))
    .filter((file) => /\.so\.\d+$/.test(file));
  // They need each other, in an order that they do not tell: whatever loads brings others nearer.
  for (let left = waiting.length + 1; waiting.length > 0 && waiting.length < left; ) {
    left = waiting.length;
    waiting = waiting.filter((file) => !loads(file));
  }
  // XLA asks this folder for NVIDIA's device code and its assembler.
  const toolkit = entries(maker).find((folder) => existsSync(path.join(folder, 'nvvm', 'libdevice')));
  if (toolkit && !/xla_gpu_cuda_data_dir/.test(process.env.XLA_FLAGS ?? '')) {
    process.env.XLA_FLAGS = `${process.env.XLA_FLAGS ?? ''} --xla_gpu_cuda_data_dir=${toolkit}`.trim();
  }
}

/** Never unloaded: the plugin refers to them. */
const companions: unknown[] = [];

function loads(file: string): boolean {
  try {
    companions.push(koffi.load(file, { global: true, lazy: true }));
    return true;
  } catch {
    return false;
  }
}
