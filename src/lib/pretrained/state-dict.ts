/** The tensors of a network in a file, by name. */
import type { HostTensor, TensorInfo } from '../formats/host-tensor.js';

/** A tensor of a file, fetched when it is asked for. */
export interface StoredTensor extends TensorInfo {
  read(): HostTensor;
}

/** Tensors by today's official names, in the order of the module's parameters. */
export type StateDict = ReadonlyMap<string, StoredTensor>;
