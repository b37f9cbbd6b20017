/** Options that make sense only along with others. */
import { UsageError } from '../errors.js';

/** Whether an option is given, and the one that it belongs to. */
export type OptionNeed = readonly [option: string, given: boolean, other: string, otherGiven: boolean];

/**
 * An option that would do nothing is a mistake.
 * @throws UsageError for the first that is given without its other
 */
export function checkNeeds(needs: readonly OptionNeed[]): void {
  for (const [option, given, other, otherGiven] of needs) {
    if (given && !otherGiven) throw new UsageError(`${option} does nothing without ${other}`);
  }
}
