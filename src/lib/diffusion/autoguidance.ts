/** Guidance by a weaker network. */
import {
  type ConditionalBatch,
  type ConditionalNetwork,
  extrapolate,
  type GuidanceOptions,
  guidedRows,
  type Predictor,
  type Times,
  type Values,
} from './guidance.js';
import { hostSpace, type Space } from './space.js';

/** Autoguidance (arXiv 2406.02507): moves away from a weaker network's prediction under the same labels. */
export function autoguidance<T extends Times, State = Values, Input = Float32Array>(
  network: ConditionalNetwork<T, State, Input>,
  weakNetwork: ConditionalNetwork<T, State, Input>,
  batch: ConditionalBatch,
  options: GuidanceOptions,
  space: Space<State, Input> = hostSpace(),
): Predictor<T, State, Input> {
  return async (x, t, stepTime) => {
    const conditional = await network(x, t, batch.labels);
    const guided = guidedRows(options, stepTime, batch.labels.length);
    if (!guided.includes(true)) return conditional;
    return extrapolate(space, conditional, await weakNetwork(x, t, batch.labels), guided, batch, options);
  };
}
