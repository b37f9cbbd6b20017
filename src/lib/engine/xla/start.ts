/** Starts the engine that computes recorded graphs by XLA, on the devices of a PJRT plugin. */
import { UsageError } from '../../errors.js';
import { homeFolder } from '../../files/home.js';
import type { Engine } from '../engine.js';
import { useTarget } from '../graph/backend.js';
import '../graph/kernels/index.js';
import { compile } from '../graph/trace.js';
import { Client } from './client.js';
import { loadCompanions } from './companions.js';
import type { Products } from './lower/writer.js';
import { findPlugin } from './plugin.js';
import { ProgramCache } from './program-cache.js';
import { DeviceCopies } from './residency.js';
import { XlaSpaces } from './space.js';
import { XlaTarget } from './target.js';

export interface XlaOptions {
  /** The file of a plugin; found if it is not named. */
  readonly plugin?: string;
  /** How many devices compute: all by default. */
  readonly devices?: number;
  /** Of the operands of products: by default bf16 on accelerators, f32 on the processor. */
  readonly precision?: Products;
}

/** One client a process: a device may belong to one only. */
const clients = new Map<string, Client>();

export function clientOf(file: string): Client {
  loadCompanions(file);
  const client = clients.get(file) ?? new Client(file);
  clients.set(file, client);
  return client;
}

/** The plugin that is found without being named to us, and its devices. */
export function devicesOf(): { plugin: string; devices: { kind: string; memory_bytes?: number }[] } {
  const client = clientOf(findPlugin(undefined).file);
  const devices = client.devices.map((device) => {
    const limit = client.memory(device)?.limit;
    return { kind: device.kind, ...(limit !== undefined && { memory_bytes: limit }) };
  });
  return { plugin: client.plugin, devices };
}

/**
 * The most bytes that the first device has had in use; undefined where its plugin does not count, or none is loaded.
 */
export function peakDeviceBytes(): number | undefined {
  const [client] = clients.values();
  return client?.memory(client.devices[0])?.peak;
}

function take(client: Client, count: number): void {
  const { devices, plugin } = client;
  if (count > devices.length) {
    throw new UsageError(`--devices ${count}: the plugin ${plugin} has ${devices.length}`, 'repa doctor lists them');
  }
  client.devices = devices.slice(0, count);
}

/**
 * @throws MissingInputError, UnavailableError when there is no plugin, or none that works; UsageError for more devices
 * than it has
 */
export async function startXla({ plugin, precision, devices }: XlaOptions, threads: number): Promise<Engine> {
  const client = clientOf(findPlugin(plugin).file);
  if (devices !== undefined) take(client, devices);
  const products = precision ?? (client.isCpu ? 'f32' : 'bf16');
  const programs = new ProgramCache(client, homeFolder('programs'));
  const device = new DeviceCopies(client);
  const target = new XlaTarget(device, programs, products);
  await useTarget(target);
  const spaces = new XlaSpaces(target);
  return {
    backend: 'xla',
    version: `PJRT ${client.api.version}, ${client.platform} ${client.platformVersion}`,
    threads,
    device,
    devices: client.devices.map(({ kind }) => kind),
    precision: products,
    space: () => spaces.open(),
    readsInPlace: true,
    compile,
  };
}
