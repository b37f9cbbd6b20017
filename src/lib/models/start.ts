/** How the parameters of a network start: the distributions that the official code draws from. */
import { sinCosPositions } from '../nn/embeddings.js';
import type { NormKind } from '../nn/layers.js';
import { fillNormal, fillUniform, PURPOSE } from '../numbers/random.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Weight } from './parameters.js';

/** `positions` are computed for the grid of patches, `frequencies` are standard normals; neither is ever trained. */
export type Start = 'xavier' | 'kaiming' | 'normal' | 'zeros' | 'half' | 'ones' | 'positions' | 'frequencies';

export interface ParameterPlan {
  shape: readonly number[];
  start: Start;
  /** The deviation of `normal`, if not 0.02. */
  deviation?: number;
  /** The inputs of the layer, for a bias that is drawn as its weight is. */
  inputs?: number;
  /** Whether it is drawn and never trained. */
  fixed?: true;
  /** Whether it is a map between hidden states, which Muon may learn. */
  hidden?: true;
}

/** A parameter by its name in the state dict. */
export type PlannedParameter = [name: string, plan: ParameterPlan];

/** Parameters that are stored with a model but not trained. */
export const isFrozen = ({ start, fixed }: ParameterPlan): boolean =>
  fixed === true || start === 'positions' || start === 'frequencies';

/** A linear layer, without bias at its start. */
export const linearPlan = (name: string, outputs: number, inputs: number, start: Start): PlannedParameter[] => [
  [`${name}.weight`, { shape: [outputs, inputs], start }],
  [`${name}.bias`, { shape: [outputs], start: 'zeros' }],
];

/** An affine norm; an RMS norm has no shift. */
export const normPlan = (name: string, dim: number, kind: NormKind): PlannedParameter[] => [
  [`${name}.weight`, { shape: [dim], start: 'ones' }],
  ...(kind === 'rms' ? [] : [[`${name}.bias`, { shape: [dim], start: 'zeros' }] as PlannedParameter]),
];

/** Marks parameters as maps between hidden states. */
export const hiddenMaps = (parameters: readonly PlannedParameter[]): PlannedParameter[] =>
  parameters.map(([name, plan]) => [name, { ...plan, hidden: true }]);

/** The starts that draw random numbers. */
const DRAWN: ReadonlySet<Start> = new Set(['xavier', 'kaiming', 'normal', 'frequencies']);

const NORMAL_STD = 0.02;

/** Glorot's uniform bound for a weight seen as a matrix [out, in * receptive field]. */
const xavierBound = ([outputs, ...inputs]: readonly number[]): number => Math.sqrt(6 / (outputs + sizeOf(inputs)));

/** The bound of PyTorch's convolutions and linear layers, of their weights and of their biases. */
const kaimingBound = ([, ...sides]: readonly number[], inputs = sizeOf(sides)): number => 1 / Math.sqrt(inputs);

/** The first values of one parameter; `row` numbers the parameters that are drawn. */
function firstValues(
  { shape, start, inputs, deviation = NORMAL_STD }: ParameterPlan,
  seed: number,
  row: number,
): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  switch (start) {
    case 'xavier':
    case 'kaiming': {
      const bound = start === 'xavier' ? xavierBound(shape) : kaimingBound(shape, inputs);
      fillUniform(values, seed, PURPOSE.init, row);
      return values.map((u) => (2 * u - 1) * bound);
    }
    case 'normal':
      fillNormal(values, seed, PURPOSE.init, row);
      return values.map((e) => deviation * e);
    case 'frequencies':
      fillNormal(values, seed, PURPOSE.init, row);
      return values;
    case 'half':
      return values.fill(0.5);
    case 'ones':
      return values.fill(1);
    case 'positions': {
      const [, tokens, dim] = shape;
      const side = Math.floor(Math.sqrt(tokens));
      values.set(sinCosPositions(side, dim), (tokens - side * side) * dim); // those of tokens before the patches are zero
      return values;
    }
    case 'zeros':
      return values;
  }
}

/** Fresh weights, one by one, in the order of the parameters, by which what is drawn is numbered. */
export function* startingWeights(
  parameters: ReadonlyMap<string, ParameterPlan>,
  seed: number,
): Generator<[name: string, Weight]> {
  let row = 0;
  for (const [name, plan] of parameters) {
    yield [name, { shape: plan.shape, data: firstValues(plan, seed, row) }];
    if (DRAWN.has(plan.start)) row++;
  }
}
