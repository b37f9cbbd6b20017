/** Results of cknna and probe for a model's blocks, as points of curves along the blocks. */
import path from 'node:path';
import { DataError } from '../errors.js';
import type { CurvePoint } from './draw.js';
import { readEntries } from './run-points.js';

export interface BlockPoint extends CurvePoint {
  metric: string;
}

/**
 * A column of extract-hidden, as probe names it (hidden.b4.t0.5, or hidden.b4 of one time) and cknna (.. ~ feature).
 */
const COLUMN = /\.b(\d+)(?:\.t(\d+(?:\.\d+)?))?(?: ~ .*)?$/;

/**
 * Reads a file of results: each line about a block becomes a point; a curve for each file and time.
 * @throws DataError when a line is no JSON object, or none is of a block
 */
export function readBlocks(file: string): BlockPoint[] {
  const name = path.basename(file).replace(/\.\w+$/, '');
  const points = readEntries(file).flatMap((entry): BlockPoint[] => {
    const column = Object.values(entry).find((value) => typeof value === 'string' && COLUMN.test(value));
    const value = entry.value ?? entry.accuracy; // probe calls it accuracy
    if (typeof column !== 'string' || typeof value !== 'number') return [];
    const [, block, time] = COLUMN.exec(column)!;
    const curve = time === undefined ? name : `${name}, t ${time}`;
    return [{ metric: String(entry.metric), curve, x: Number(block), value }];
  });
  if (points.length > 0) return points;
  throw new DataError(`${file}: no line is of a block`, 'Write it with --json, of repa extract-hidden --blocks all.');
}
