/**
 * One metric of random features: CKNNA of two sets of `rows` x 768, or the Frechet distance of two Gaussians of 2048
 * dimensions. A contestant of bench/contest.ts.
 *
 *     echo step | node dist/bench/metric.js --metric cknna --rows 10000
 */
import { parseArgs } from 'node:util';
import { selectBackend } from '../src/lib/engine/index.js';
import type { Matrix } from '../src/lib/linalg/matrix-product.js';
import { cknna } from '../src/lib/metrics/cknna.js';
import { unitRows } from '../src/lib/metrics/features.js';
import { frechetDistance } from '../src/lib/metrics/frechet.js';
import { nearestNeighbours } from '../src/lib/metrics/neighbours.js';
import { FeatureStatistics } from '../src/lib/metrics/statistics.js';
import { answer, normals } from './contestant.js';

const { values: flags } = parseArgs({
  options: { metric: { type: 'string', default: 'cknna' }, rows: { type: 'string', default: '2000' } },
});
const rows = Number(flags.rows);
const NEIGHBOURS = 10;

await selectBackend({ backend: 'onnx' });

function alignment(): () => unknown {
  const [a, b]: Matrix[] = [0, 1].map(() => unitRows(normals([rows, 768]), 768));
  return () => cknna(nearestNeighbours(a, a, NEIGHBOURS), nearestNeighbours(b, b, NEIGHBOURS));
}

function distance(): () => unknown {
  const [a, b] = [0, 1].map(() => {
    const statistics = new FeatureStatistics(2048);
    statistics.add(normals([4096, 2048]));
    return statistics.gaussian();
  });
  return () => frechetDistance(a, b);
}

await answer({ cknna: alignment, frechet: distance }[flags.metric as 'cknna']());
