/** The report on a step that ended a run: enough to tell bad data from a bad learning rate. */
import path from 'node:path';
import { DataError } from '../errors.js';
import { writeFileAtomic } from '../files/atomic-file.js';
import type { ParameterStore } from '../optim/index.js';
import type { TrainingSet } from './data/set.js';
import { imagesBefore, type RunRecord } from './record.js';

export interface DivergedStep {
  /** Counted from 1. */
  step: number;
  /** What went wrong, in one sentence. */
  reason: string;
  losses: Readonly<Record<string, number>>;
}

/** The parts of a network, in its order, whose gradients are told apart. */
const PART = /^(blocks\.\d+|projectors\.\d+|[^.]+)/;

/**
 * Writes the report into the folder `out`, if this process is the one that writes there.
 * @returns the error that ends the run
 */
export async function divergence(
  { step, reason, losses }: DivergedStep,
  record: RunRecord,
  store: ParameterStore,
  set: TrainingSet,
  out: string | undefined,
): Promise<DataError> {
  const { batchSize, seed } = record.training;
  const rows = set.latents.rowsAfter(imagesBefore(record, step - 1), batchSize, seed); // of the global batch
  const gradient = firstBroken(store, 'gradient');
  const images = await brokenImages(rows, set, seed, step);
  if (out !== undefined) {
    const report = {
      step,
      reason,
      losses: finiteOrText(losses),
      gradient_norms: finiteOrText(gradientNorms(store)),
      first_broken_gradient: gradient,
      first_broken_weight: firstBroken(store, 'value'),
      images: Array.from(rows, (row) => set.keyOf(row)),
      broken_images: images,
    };
    const text = `${JSON.stringify(report, null, 2)}\n`;
    writeFileAtomic(path.join(out, reportName(step)), text);
  }
  const terms = Object.entries(losses).map(([name, value]) => `${name} ${value}`);
  const causes = [
    ...(images.length > 0 ? [`the data of '${images[0]}' is not finite`] : []),
    ...(gradient ? [`the first gradient that is not finite is that of ${gradient}`] : []),
  ];
  return new DataError(
    [`${reason}: ${terms.join(', ')}`, ...causes].join('; '),
    `Training stopped before the weights were touched; ${reportName(step)} in --out tells more. Check the data with repa verify, or lower --lr.`,
  );
}

const reportName = (step: number): string => `diverged-step-${String(step).padStart(7, '0')}.json`;

/** Numbers for JSON, which has none that are not finite: those become text. */
const finiteOrText = (values: Readonly<Record<string, number>>): Record<string, number | string> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, Number.isFinite(value) ? value : String(value)]),
  );

/** Euclidean norm over each part of the network. */
function gradientNorms(store: ParameterStore): Record<string, number> {
  const squares: Record<string, number> = {};
  for (const { name, gradient } of store.parameters) {
    if (!gradient) continue;
    const part = PART.exec(name)![1];
    squares[part] = gradient.reduce((sum, value) => sum + value * value, squares[part] ?? 0);
  }
  return Object.fromEntries(Object.entries(squares).map(([part, sum]) => [part, Math.sqrt(sum)]));
}

/** The name of the first parameter, in the order of the model, with a number that is not finite. */
const firstBroken = (store: ParameterStore, quantity: 'gradient' | 'value'): string | null =>
  store.parameters.find((parameter) => parameter[quantity]?.some((element) => !Number.isFinite(element)))?.name ?? null;

/** The keys of the images whose latents or stored features are not finite. */
async function brokenImages(rows: Uint32Array, set: TrainingSet, seed: number, step: number): Promise<string[]> {
  const broken: string[] = [];
  for (const [position, row] of rows.entries()) {
    const { latents, features } = await set.read(Uint32Array.of(row), seed, step - 1, position);
    const arrays = [latents, ...features];
    if (arrays.some((array) => array.some((value) => !Number.isFinite(value)))) broken.push(set.keyOf(row));
  }
  return broken;
}
