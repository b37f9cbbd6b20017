/**
 * Reads ONNX files in a process of its own, since ONNX Runtime may end it: each message is a path, each answer what
 * came of it. `refused` is an error of repa's own kind, `failed` another.
 */
import { selectBackend } from '../../src/lib/engine/index.js';
import { RepaError } from '../../src/lib/errors.js';
import { openOnnxEncoder } from '../../src/lib/pretrained/onnx-encoder.js';

export interface Answer {
  value?: string;
  refused?: string;
  failed?: string;
  /** Of a processor, that the reading took. */
  milliseconds?: number;
}

const SIDE = 8;
const image = {
  width: SIDE,
  height: SIDE,
  data: Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, i) => (i * 29) % 256),
};

async function read(file: string): Promise<Answer> {
  try {
    const encoder = await openOnnxEncoder({ file, size: SIDE, batchSize: 1 });
    try {
      const { feature } = encoder.encode([image]);
      return { value: `${encoder.tokens}x${encoder.dim} ${feature.slice(0, 64).join()}` };
    } finally {
      encoder.dispose();
    }
  } catch (error) {
    if (error instanceof RepaError) return { refused: error.message };
    return { failed: (error as Error).stack ?? String(error) };
  }
}

await selectBackend({ backend: 'onnx', threads: 1 });
process.on('message', async (file: string) => {
  const before = process.cpuUsage();
  const answer = await read(file);
  const { user, system } = process.cpuUsage(before);
  process.send!({ ...answer, milliseconds: (user + system) / 1000 });
});
process.send!({});
