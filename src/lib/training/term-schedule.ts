/** Weights of terms that change over the steps: a factor multiplies the weight that a method gives its term. */
import type { Draw } from '../diffusion/draws.js';
import { UsageError } from '../errors.js';
import { count, fields, oneOf, type ShapeOf, words } from '../formats/json-shape.js';
import { ValueProblem, whole } from '../options/option.js';

/** A factor of a term's weight, by the number of the step, counted from 1. */
export const TERM_SCHEDULE = fields({
  /** The name in the log, which adds `_loss`. */
  term: words,
  /**
   * How the factor changes from step `from` to `to`: linearly from 0 to 1, along half a cosine to 0, or at once to 0.
   */
  course: oneOf('warmup', 'cosine', 'until'),
  from: count,
  to: count,
});

export type TermSchedule = ShapeOf<typeof TERM_SCHEDULE>;

const FORMS = 'projection:warmup:5000, projection:cosine:100000-250000 or projection:until:250000';

/** Reads `TERM:warmup:STEPS`, `TERM:cosine:FROM-TO` or `TERM:until:STEP`. @throws ValueProblem */
export function parseTermSchedule(text: string): TermSchedule {
  const [, term, course, first, second] = /^([a-z_]+):(warmup|cosine|until):(\d+)(?:-(\d+))?$/.exec(text.trim()) ?? [];
  const isRange = second !== undefined;
  if (term === undefined || isRange !== (course === 'cosine')) throw new ValueProblem(`It takes such as ${FORMS}.`);
  const [from, to] = isRange
    ? [whole()(first), whole()(second)]
    : [course === 'until' ? Number(first) : 0, whole(1)(first)];
  if (isRange && to <= from) throw new ValueProblem(`${text}: it ends before it begins.`);
  return { term, course: course as TermSchedule['course'], from, to };
}

/** The factor at step number `step`, counted from 1: from 0 to 1. */
export function factorAt({ course, from, to }: TermSchedule, step: number): number {
  if (course === 'until') return step <= to ? 1 : 0;
  const done = Math.min(1, Math.max(0, (step - from) / (to - from)));
  return course === 'warmup' ? done : (1 + Math.cos(Math.PI * done)) / 2;
}

/** The product of a term's factors, the same for each image of a step: [B], by the names of the terms. */
export function factorDraws(schedules: readonly TermSchedule[]): Map<string, Draw> {
  const drawOf = (name: string): Draw => {
    const own = schedules.filter(({ term }) => term === name);
    const factor = (step: number): number => own.reduce((product, each) => product * factorAt(each, step), 1);
    return { shape: [], dtype: 'float32', values: ({ rows, step }) => new Float32Array(rows).fill(factor(step + 1)) };
  };
  return new Map(schedules.map(({ term }) => [term, drawOf(term)]));
}

/** @throws UsageError for a schedule of a term that is none of the loss's */
export function checkTerms(schedules: readonly TermSchedule[], terms: readonly string[]): void {
  const unknown = schedules.find(({ term }) => !terms.includes(term));
  if (unknown)
    throw new UsageError(`--term-schedule ${unknown.term}: the loss has no such term, but ${terms.join(', ')}`);
}
