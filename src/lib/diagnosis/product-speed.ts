/** Measures how fast the engine multiplies matrices: the measure for the speed of training. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { capture, engineInfo, tf } from '../engine/index.js';
import { writeFileAtomic } from '../files/atomic-file.js';
import { makeFolder } from '../files/folders.js';
import { homeFolder } from '../files/home.js';
import { jsonObject } from '../formats/json-object.js';

/** Sides of the matrices: larger ones for a device that is done too soon with smaller ones. */
const SIDES = [512, 1024, 2048, 4096, 8192];
const LONG_ENOUGH_MS = 20;
/** Number of products in one run. */
const CHAIN = 4;

/**
 * The best rate seen in so many seconds, in floating point operations a second, in the engine's precision and on one of
 * its devices. Only vectors go in and one number comes out, so that copies count for nothing. Of a processor it is the
 * rate with the processor to itself, whatever else runs now: processor time is counted where it is less than wall time.
 */
export function measureProducts(seconds: number): number {
  let best = 0;
  for (const side of SIDES) {
    const vector = new Float32Array(side).fill(side ** -0.5); // [side]; its outer product with itself is its own square
    const program = capture(
      (v) => {
        const column = tf.reshape(v, [side, 1]);
        const matrix = tf.matMul(column, column, false, true); // [side, side]
        const power = Array.from({ length: CHAIN }).reduce<tf.Tensor>((product) => tf.matMul(product, matrix), matrix);
        return [tf.mean(power)];
      },
      [{ shape: [side], dtype: 'float32' }],
    );
    program.run(vector); // the first run warms up
    const milliseconds = runTime(() => program.run(vector), seconds);
    program.dispose();
    best = Math.max(best, (CHAIN * 2 * side ** 3) / (milliseconds / 1000));
    if (milliseconds >= LONG_ENOUGH_MS) break;
  }
  return best;
}

/** Milliseconds of the shortest run; on a processor, of the mean in processor time where that is less. */
function runTime(run: () => void, seconds: number): number {
  let [shortest, runs] = [Number.POSITIVE_INFINITY, 0];
  const before = process.cpuUsage();
  for (const end = performance.now() + seconds * 1000; performance.now() < end; runs++) {
    const started = performance.now();
    run();
    shortest = Math.min(shortest, performance.now() - started);
  }
  const { backend, threads } = engineInfo();
  if (backend !== 'onnx') return shortest; // the host waits for its device
  const { user, system } = process.cpuUsage(before);
  return Math.min(shortest, (user + system) / 1000 / threads / runs);
}

const FILE = 'product-speed.json';
const BRIEF = 0.15;

/**
 * The speed of products on this machine, with the engine as it was selected, over all of its devices: measured briefly,
 * and the best that was ever seen, since clocks vary. `$REPA_HOME` remembers it, of one device.
 */
export function productSpeed(): number {
  const file = homeFolder(FILE);
  const { backend, version, threads, devices, precision } = engineInfo();
  const machine = [os.cpus()[0]?.model ?? os.arch(), devices?.[0], backend, version, precision, `${threads} threads`];
  const key = machine.filter((part) => part !== undefined).join(', ');
  const known = readSpeeds(file);
  const best = Math.max(measureProducts(BRIEF), Number(known[key]) || 0);
  if (best > (Number(known[key]) || 0)) writeSpeeds(file, { ...known, [key]: Math.round(best) });
  return best * (devices?.length ?? 1);
}

function readSpeeds(file: string): Record<string, unknown> {
  try {
    return jsonObject(readFileSync(file, 'utf8')) ?? {};
  } catch {
    return {}; // nothing was measured yet
  }
}

function writeSpeeds(file: string, speeds: Record<string, unknown>): void {
  try {
    makeFolder(homeFolder('.'));
    writeFileAtomic(file, `${JSON.stringify(speeds, null, 2)}\n`);
  } catch {
    // A home that cannot be written to: it is measured again next time.
  }
}
