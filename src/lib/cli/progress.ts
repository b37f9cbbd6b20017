/** Progress on stderr: a bar with rate and time left on a terminal, a line every 30 s elsewhere, nothing when quiet. */
import type { Progress as Meter } from '../progress.js';
import { isInteractive, isSecondaryRank, styleErr } from './terminal.js';

const REDRAW_MS = 100;
const LINE_MS = 30_000;
const BAR_WIDTH = 24;
const CLEAR_LINE = '\r\x1b[2K';

/** `1:02:03`, `4:05` or `12s`. */
export function showDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  if (h > 0) return `${h}:${two(m)}:${two(s)}`;
  return m > 0 ? `${m}:${two(s)}` : `${s}s`;
}

export interface ProgressOptions {
  /** What is counted, in the plural: `images`, `steps`. */
  unit: string;
  /** Undefined when the input does not say how many there are. */
  total?: number;
  /** Units done before this run (a resumed one): shown, but no part of the rate. */
  done?: number;
  quiet?: boolean;
}

export class Progress implements Meter {
  #done: number;
  readonly #first: number;
  readonly #started = performance.now();
  readonly #mode: 'bar' | 'lines' | 'silent';
  #shownAt = 0;
  #note = '';

  constructor(
    readonly label: string,
    readonly options: ProgressOptions,
  ) {
    this.#done = options.done ?? 0;
    this.#first = this.#done;
    if (options.quiet || isSecondaryRank()) this.#mode = 'silent';
    else this.#mode = isInteractive(process.stderr) ? 'bar' : 'lines';
    this.#shownAt = this.#mode === 'lines' ? this.#started : 0;
  }

  /** Counts `n` more units; `note` (a loss, a file) is shown behind the bar. */
  advance(n = 1, note?: string): void {
    this.#done += n;
    if (note !== undefined) this.#note = note;
    const now = performance.now();
    if (this.#mode === 'bar' && now - this.#shownAt >= REDRAW_MS) {
      this.#shownAt = now;
      process.stderr.write(CLEAR_LINE + this.#line(now, true));
    } else if (this.#mode === 'lines' && now - this.#shownAt >= LINE_MS) {
      this.#shownAt = now;
      process.stderr.write(`${this.#line(now, false)}\n`);
    }
  }

  /** Prints a line of words without tearing the bar. */
  say(text: string): void {
    if (this.options.quiet || isSecondaryRank()) return;
    process.stderr.write(`${this.#mode === 'bar' ? CLEAR_LINE : ''}${text}\n`);
  }

  /** Ends with one line that says how many and how fast. */
  finish(): void {
    if (this.#mode === 'silent') return;
    const now = performance.now();
    const seconds = (now - this.#started) / 1000;
    const count = this.#done - this.#first;
    const text = `${this.label}: ${count} ${this.options.unit} in ${showDuration(seconds)} (${this.#rate(seconds)}/s)`;
    process.stderr.write(`${this.#mode === 'bar' ? CLEAR_LINE : ''}${text}\n`);
  }

  #rate(seconds: number): string {
    const rate = (this.#done - this.#first) / Math.max(seconds, 1e-3);
    return rate >= 10 ? rate.toFixed(0) : rate.toPrecision(2);
  }

  #line(now: number, bar: boolean): string {
    const { total, unit } = this.options;
    const seconds = (now - this.#started) / 1000;
    const parts = [this.label];
    if (total !== undefined) {
      const fraction = total === 0 ? 1 : Math.min(1, this.#done / total);
      if (bar) {
        const full = Math.round(fraction * BAR_WIDTH);
        parts.push(styleErr.cyan('━'.repeat(full)) + styleErr.dim('─'.repeat(BAR_WIDTH - full)));
      }
      parts.push(`${this.#done}/${total} ${unit}`, `${this.#rate(seconds)}/s`);
      const left = ((total - this.#done) * seconds) / Math.max(this.#done - this.#first, 1);
      if (this.#done > this.#first) parts.push(`${showDuration(left)} left`);
    } else {
      parts.push(`${this.#done} ${unit}`, `${this.#rate(seconds)}/s`);
    }
    if (this.#note) parts.push(styleErr.dim(this.#note));
    return parts.join('  ');
  }
}
