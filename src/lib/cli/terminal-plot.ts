/** Curves in a terminal, drawn with the eight dots that a Braille character has. */

export interface TerminalCurve {
  x: readonly number[];
  y: readonly number[];
  /** How the characters of the curve are coloured. */
  paint: (text: string) => string;
}

const DOTS_WIDE = 2;
const DOTS_HIGH = 4;
/** The bit of each dot of a Braille character, by row and column (Unicode, block U+2800). */
const DOT_BITS = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
];
/** Characters left of the frame, for the numbers of the vertical axis. */
const MARGIN = 10;

/** The least and the greatest finite number; a single one stands in the middle of its axis. */
function rangeOf(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

const short = (value: number): string => String(Number(value.toPrecision(4)));

/**
 * All curves in one frame of `columns` x `rows` characters, axes included.
 * @returns lines that end in a line feed; empty when there is no finite point
 */
export function terminalPlot(curves: readonly TerminalCurve[], columns: number, rows: number): string {
  const width = Math.max(10, columns - MARGIN - 1);
  const height = Math.max(3, rows - 2);
  const [left, right] = rangeOf(curves.flatMap(({ x }) => x));
  const [bottom, top] = rangeOf(curves.flatMap(({ y }) => y));
  if (!Number.isFinite(left) || !Number.isFinite(bottom)) return '';
  const bits = new Uint8Array(width * height);
  const owner = new Int16Array(width * height).fill(-1);
  const dot = (column: number, row: number, curve: number): void => {
    const cell = Math.floor(row / DOTS_HIGH) * width + Math.floor(column / DOTS_WIDE);
    bits[cell] |= DOT_BITS[row % DOTS_HIGH][column % DOTS_WIDE];
    owner[cell] = curve;
  };
  curves.forEach(({ x, y }, curve) => {
    let before: [number, number] | undefined;
    x.forEach((value, i) => {
      if (!Number.isFinite(y[i])) {
        before = undefined;
        return;
      }
      const column = Math.round(((value - left) / (right - left)) * (width * DOTS_WIDE - 1));
      const row = Math.round(((top - y[i]) / (top - bottom)) * (height * DOTS_HIGH - 1));
      const [fromColumn, fromRow] = before ?? [column, row];
      const steps = Math.max(1, Math.abs(column - fromColumn), Math.abs(row - fromRow));
      for (let step = 0; step <= steps; step++) {
        const share = step / steps;
        dot(
          Math.round(fromColumn + share * (column - fromColumn)),
          Math.round(fromRow + share * (row - fromRow)),
          curve,
        );
      }
      before = [column, row];
    });
  });
  const lines = Array.from({ length: height }, (_, row) => {
    const label = row === 0 ? short(top) : row === height - 1 ? short(bottom) : '';
    let line = `${label.padStart(MARGIN - 1)} │`;
    for (let column = 0; column < width; column++) {
      const cell = row * width + column;
      line += bits[cell] === 0 ? ' ' : curves[owner[cell]].paint(String.fromCharCode(0x2800 + bits[cell]));
    }
    return line.trimEnd();
  });
  const [from, to] = [short(left), short(right)];
  const axis = `${' '.repeat(MARGIN)}└${'─'.repeat(width)}`;
  const ends = `${' '.repeat(MARGIN + 1)}${from}${to.padStart(Math.max(to.length + 1, width - from.length))}`;
  return [...lines, axis, ends].map((line) => `${line}\n`).join('');
}
