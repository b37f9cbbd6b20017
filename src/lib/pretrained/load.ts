/** Weights of a named network, or of a file: found, hashed, read and brought under the names that the models use. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { missingInput } from '../files/missing.js';
import { sha256Of } from '../files/sha256.js';
import { toFloat32 } from '../formats/host-tensor.js';
import { openWeights, type WeightsFile } from '../formats/weights-file.js';
import { locateWeights } from '../hub/locate.js';
import { toPoolNames } from '../models/attention-pool.js';
import { toDiffusersNames } from '../models/autoencoder-kl.js';
import { toClipTextNames } from '../models/clip-text.js';
import type { Weight, Weights } from '../models/parameters.js';
import { toRaeDecoderNames } from '../models/rae-decoder.js';
import { toTinyNames } from '../models/tiny-autoencoder.js';
import { toHubNames } from '../models/vit-names.js';

export type NetworkKind = 'vae' | 'vit' | 'convnext' | 'rae-decoder' | 'inception' | 'clip-text';

export interface NetworkRequest {
  kind: NetworkKind;
  /** A name that is embedded in repa or was put in its cache. */
  name: string;
  /** A weights file, in place of the name's own. */
  file?: string;
}

export interface LoadedNetwork {
  /** Its name, as recorded in `repa.model`: the name, or the file's base name. */
  name: string;
  /** Where the weights are. */
  path: string;
  sha256: string;
  /** What the file says of itself. */
  metadata: Readonly<Record<string, string>>;
  /** In f32, each tensor read when its data is asked for. */
  weights: Weights;
}

export interface OpenNetwork extends LoadedNetwork {
  /** Closes the weights' file: nothing more can be read. */
  close(): void;
}

const TRANSLATE: Record<NetworkKind, (weights: Weights) => Weights> = {
  vae: (weights) => toTinyNames(toDiffusersNames(weights)),
  vit: (weights) => toPoolNames(toHubNames(weights)),
  convnext: (weights) => weights,
  'rae-decoder': toRaeDecoderNames,
  inception: (weights) => weights,
  'clip-text': toClipTextNames,
};

/** A weight that is read from its file each time: nothing is kept here, as a file may hold much more. */
class StoredWeight implements Weight {
  readonly shape: readonly number[];
  readonly #file: WeightsFile;
  readonly #name: string;

  constructor(file: WeightsFile, name: string) {
    this.shape = file.info(name).shape;
    this.#file = file;
    this.#name = name;
  }

  get data(): Float32Array {
    return toFloat32(this.#file.read(this.#name));
  }
}

/**
 * Opens the weights of a network.
 * @throws UnavailableError for a name whose weights are not here; MissingInputError for a file that is not; DataError
 *   for a damaged one
 */
export async function openNetwork({ kind, name, file }: NetworkRequest): Promise<OpenNetwork> {
  const found = file ?? locateWeights(name);
  if (!existsSync(found)) throw missingInput(found, 'file', 'Weights were looked for there.');
  const sha256 = await sha256Of(found);
  const source = openWeights(found);
  const close = () => source.close();
  try {
    const stored: Weights = new Map(source.names.map((tensor) => [tensor, new StoredWeight(source, tensor)]));
    const { metadata } = source;
    return {
      path: found,
      name: file ? path.basename(file) : name,
      sha256,
      metadata,
      weights: TRANSLATE[kind](stored),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/**
 * Opens the weights of a network for `use`, after which the file is closed.
 * @returns the result of `use`
 */
export async function loadNetwork<T>(request: NetworkRequest, use: (network: LoadedNetwork) => T): Promise<T> {
  const network = await openNetwork(request);
  try {
    return use(network);
  } finally {
    network.close();
  }
}
