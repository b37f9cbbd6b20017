/** The progress of a long computation: a bar in a terminal, lines in a log, or nothing. */
export interface Progress {
  /** Counts `n` more units; `note` (a loss, a file) is shown beside them. */
  advance(n?: number, note?: string): void;
  /** Prints a line of words. */
  say(text: string): void;
  /** Ends with one line that says how many and how fast. */
  finish(): void;
}

/** `1:02:03`, `4:05` or `12s`. */
export function showDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  if (h > 0) return `${h}:${two(m)}:${two(s)}`;
  return m > 0 ? `${m}:${two(s)}` : `${s}s`;
}
