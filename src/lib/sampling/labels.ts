/** Which class each image shows. */
import { UsageError } from '../errors.js';
import type { TransformerConfig } from '../models/dit-sizes.js';
import { PURPOSE, randomInteger } from '../numbers/random.js';
import type { RunRecord } from '../training/record.js';

/** Drawn from the seed, taking turns, the null class, or a list that is repeated. */
export type LabelPlan = 'random' | 'balanced' | 'none' | readonly number[];

type Classes = Pick<TransformerConfig, 'numClasses' | 'nullClass'>;

/**
 * What `--labels` says; by default random classes, or none where the training had no labels.
 * @throws UsageError for anything but random, balanced, none and numbers, and for what the model does not have
 */
export function labelPlan(text: string | undefined, { model, data }: Pick<RunRecord, 'model' | 'data'>): LabelPlan {
  if (text === undefined) return data.labelled === 0 || model.numClasses === 0 ? 'none' : 'random';
  if (text === 'random' || text === 'balanced') return text;
  if (text === 'none' && model.nullClass) return text;
  if (text === 'none') throw new UsageError('--labels none: the model has no null class, but classes alone');
  const words = text.split(',');
  if (!words.every((word) => /^\d+$/.test(word.trim()))) {
    throw new UsageError(`--labels ${text}: it takes random, balanced, none, or class numbers such as 0,1,7`);
  }
  const numbers = words.map(Number);
  for (const label of numbers) checkLabel(label, model);
  return numbers;
}

/** @throws UsageError for a class that the model does not have */
function checkLabel(label: number, { numClasses, nullClass }: Classes): void {
  if (label < numClasses || (nullClass && label === numClasses)) return;
  const others = nullClass ? `${numClasses} is no class` : 'no null class';
  throw new UsageError(
    `--labels: there is no class ${label}: the model has 0 to ${numClasses - 1}${nullClass ? ', ' : ' and '}${others}`,
  );
}

/** The label of image `index`. */
export function labelOf(plan: LabelPlan, index: number, { numClasses }: Classes, seed: number): number {
  if (plan === 'none') return numClasses;
  if (plan === 'random') return randomInteger(numClasses, seed, PURPOSE.labels, index);
  if (plan === 'balanced') return index % numClasses;
  return plan[index % plan.length];
}

/** A plan as headers tell it. */
export const describeLabels = (plan: LabelPlan): string => (typeof plan === 'string' ? plan : plan.join(','));
