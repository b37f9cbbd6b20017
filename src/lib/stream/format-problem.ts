/**
 * What keeps some bytes from being a tensor stream, in words. Whoever knows the file and the place makes it a
 * DataError.
 */
export class FormatProblem extends Error {
  /** @param hint what to do about it */
  constructor(
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}

/** How rows that another program wrote come to be a tensor stream. */
export const FOREIGN_HINT =
  'Another program wrote or rewrote it: save its arrays by numpy.savez (feature=..., label=...), which repa import reads.';
