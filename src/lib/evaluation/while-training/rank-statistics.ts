/** Statistics of features that the ranks of a group have seen in parts. */
import { FeatureStatistics, type Gaussian } from '../../metrics/statistics.js';
import type { ProcessGroup } from '../../parallel/group.js';

/** The statistics of the features of all ranks, the same on each; every rank has seen at least two images. */
export function gaussianOverRanks(group: ProcessGroup, own: Gaussian & { count: number }): Gaussian {
  if (group.size === 1) return own;
  const whole = new FeatureStatistics(own.mean.length);
  for (let rank = 0; rank < group.size; rank++) {
    // A sum to which one rank alone contributes broadcasts what that rank has.
    const mine = (values: Float64Array): Float64Array =>
      rank === group.rank ? values : new Float64Array(values.length);
    const [count, mean, covariance] = [Float64Array.of(own.count), own.mean, own.covariance].map((values) => {
      const shared = mine(values).slice();
      group.sum(shared);
      return shared;
    });
    whole.merge(FeatureStatistics.from({ count: count[0], mean, covariance }));
  }
  return whole.gaussian();
}
