/** Where a long computation says how far it is: a bar in a terminal, lines in a log, or nowhere. */
export interface Progress {
  /** Counts `n` more units; `note` (a loss, a file) is shown beside them. */
  advance(n?: number, note?: string): void;
  /** Prints a line of words. */
  say(text: string): void;
  /** Ends with one line that says how many and how fast. */
  finish(): void;
}
