/** Progress on stderr: a bar with rate and time left on a terminal, a line every 30 s elsewhere, nothing when quiet. */
import { forecast } from '../diagnosis/forecast.js';
import { type Progress as Meter, showDuration } from '../progress.js';
import { isInteractive, isSecondaryRank, printable, styleErr } from './terminal.js';

const REDRAW_MS = 100;
const LINE_MS = 30_000;
const BAR_WIDTH = 24;
const CLEAR_LINE = '\r\x1b[2K';

export interface ProgressOptions {
  /** What is counted, in the plural: `images`, `steps`. */
  unit: string;
  /** How many there are; undefined when the input does not tell. */
  total?: number;
  /** Units done before a resumed run: shown, but not counted in the rate. */
  done?: number;
  /** Units computed at once: after two such batches, of which the first compiles, the rest is forecast. */
  batch?: number;
  quiet?: boolean;
}

export class Progress implements Meter {
  #done: number;
  #first: number;
  readonly #started = performance.now();
  readonly #mode: 'bar' | 'lines' | 'silent';
  #shownAt = 0;
  #note = '';
  /** When the first batch was done; null once the second was measured. */
  #compiled: { done: number; at: number } | null | undefined;

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
    this.#measure(now);
    if (this.#mode === 'bar' && now - this.#shownAt >= REDRAW_MS) {
      this.#shownAt = now;
      process.stderr.write(CLEAR_LINE + this.#line(now, true));
    } else if (this.#mode === 'lines' && now - this.#shownAt >= LINE_MS) {
      this.#shownAt = now;
      process.stderr.write(`${this.#line(now, false)}\n`);
    }
  }

  /** Counts `n` units that were there before. */
  skip(n: number): void {
    this.#done += n;
    this.#first += n;
    if (this.#compiled) this.#compiled.done += n;
  }

  /** Says once how long the rest takes. */
  #measure(now: number): void {
    const { batch, total, unit } = this.options;
    if (batch === undefined || total === undefined || this.#compiled === null) return;
    if (this.#compiled === undefined) {
      if (this.#done - this.#first >= batch) this.#compiled = { done: this.#done, at: now };
      return;
    }
    const { done, at } = this.#compiled;
    if (this.#done - done < batch) return;
    this.#compiled = null;
    const line = forecast(total - this.#done, unit, (now - at) / 1000 / (this.#done - done));
    if (line !== undefined) this.say(line);
  }

  /** Prints a line of words without tearing the bar. */
  say(text: string): void {
    if (this.options.quiet || isSecondaryRank()) return;
    process.stderr.write(`${this.#mode === 'bar' ? CLEAR_LINE : ''}${printable(text)}\n`);
  }

  /** Writes a line of data to stdout, which may be the terminal that the bar is drawn in. */
  print(line: string): void {
    const isShared = this.#mode === 'bar' && process.stdout.isTTY;
    if (isShared) process.stderr.write(CLEAR_LINE);
    process.stdout.write(line);
    if (isShared) process.stderr.write(this.#line(performance.now(), true));
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
    const facts = [`${this.#done}${total === undefined ? '' : `/${total}`} ${unit}`, `${this.#rate(seconds)}/s`];
    if (total !== undefined && this.#done > this.#first) {
      const left = ((total - this.#done) * seconds) / (this.#done - this.#first);
      facts.push(`${showDuration(left)} left`);
    }
    const fraction = total === undefined ? undefined : total === 0 ? 1 : Math.min(1, this.#done / total);
    const width = bar ? (process.stderr.columns ?? 80) - 1 : Number.POSITIVE_INFINITY;
    return progressLine({ label: this.label, facts, note: this.#note, fraction: bar ? fraction : undefined }, width);
  }
}

interface Shown {
  label: string;
  facts: readonly string[];
  note: string;
  /** Part of the work that is done, where there is a bar of it. */
  fraction: number | undefined;
}

const GAP = '  ';
const SMALLEST_BAR = 6;

/** One line of at most `width` characters: first the note, then the bar, last the facts are left out. */
export function progressLine({ label, facts, note, fraction }: Shown, width: number): string {
  const length = (words: readonly string[]): number => words.join(GAP).length;
  const [name, remark] = [label, note].map((text) => printable(text).replaceAll('\n', ' '));
  const isNoted = remark !== '' && length([name, ...facts, remark]) <= width;
  const words = isNoted ? [...facts, remark] : facts;
  const room = Math.min(BAR_WIDTH, width - length([name, ...words]) - GAP.length);
  if (fraction === undefined || room < SMALLEST_BAR) {
    const plain = [name, ...words].join(GAP);
    return plain.length > width ? plain.slice(0, width) : plain;
  }
  const full = Math.round(fraction * room);
  const bar = styleErr.cyan('━'.repeat(full)) + styleErr.dim('─'.repeat(room - full));
  return [name, bar, ...facts, ...(isNoted ? [styleErr.dim(remark)] : [])].join(GAP);
}
