/** The tiny representation autoencoder of fixtures/published/rae, as the files of which one consists. */
import path from 'node:path';
import type { HostTensor } from '../src/lib/formats/host-tensor.js';
import { writeSafetensors } from '../src/lib/formats/safetensors.js';
import { readTensors } from './fixture-weights.js';
import { fixturePath } from './support.js';

/** Writes `encoder`, `decoder` and `statistics` .safetensors into a folder, under their published names. */
export function writeTokenWeights(folder: string): Record<'encoder' | 'decoder' | 'statistics', string> {
  const tensors = [...readTensors(fixturePath('published/rae.safetensors'))];
  const write = (part: string): string => {
    const own = tensors.flatMap(([name, { shape, data }]): [string, HostTensor][] =>
      name.startsWith(`${part}.`) ? [[name.slice(part.length + 1), { shape: [...shape], dtype: 'f32', data }]] : [],
    );
    const file = path.join(folder, `${part}.safetensors`);
    writeSafetensors(file, own);
    return file;
  };
  return { encoder: write('encoder'), decoder: write('decoder'), statistics: write('statistics') };
}
