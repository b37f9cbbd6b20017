/** Everything that a training run needs to go on after it was stopped, in one file. */
import { existsSync } from 'node:fs';
import type { HostTensor } from '../../src/lib/formats/host-tensor.js';
import { openSafetensors, writeSafetensors } from '../../src/lib/formats/safetensors.js';
import type { ParameterStore, StoredParameter } from '../../src/lib/optim/index.js';

type Entry = [name: string, data: Float32Array, shape: readonly number[]];

function entriesOf({ name, shape, value, averages, firstMoment, secondMoment }: StoredParameter): Entry[] {
  const quantities = { value, ema: averages[0], firstMoment, secondMoment };
  return Object.entries(quantities).flatMap(([quantity, data]): Entry[] =>
    data ? [[`${quantity}.${name}`, data, shape]] : [],
  );
}

export function saveSnapshot(file: string, store: ParameterStore, step: number): void {
  const tensors = store.parameters
    .flatMap(entriesOf)
    .map(([name, data, shape]): [string, HostTensor] => [name, { shape: [...shape], dtype: 'f32', data }]);
  writeSafetensors(file, tensors, { step: String(step) });
}

/** Fills the store from a snapshot and tells how many steps it had taken; 0 where there is none. */
export function restoreSnapshot(file: string, store: ParameterStore): number {
  if (!existsSync(file)) return 0;
  const snapshot = openSafetensors(file);
  for (const [name, data] of store.parameters.flatMap(entriesOf)) data.set(snapshot.read(name).data as Float32Array);
  store.refresh();
  const step = Number(snapshot.metadata.step);
  snapshot.close();
  return step;
}
