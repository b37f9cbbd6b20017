/**
 * REPA (arXiv 2410.06940), section 3.2: the tokens h of one early block of the noisy images, through a small
 * perceptron, are to be alike to the features y that a frozen encoder has of the clean images.
 *
 *     L = L_velocity + lambda L_REPA,    L_REPA = -E[1/N sum_n sim(y_n, h_phi(h_n))]    (equations 8 and 9)
 *
 * Checked against the published code: losses, gradients and five steps (fixtures loss and optim).
 */
import { tf } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { count, fields, listOf, numeric, oneOf, type ShapeOf } from '../formats/json-shape.js';
import { patchCount } from '../models/dit-sizes.js';
import { countLayers, type Parameters } from '../models/parameters.js';
import { hiddenMaps, linearPlan } from '../models/start.js';
import { dense } from '../nn/layers.js';
import { sameShape } from '../numbers/typed-array.js';
import { choice, integer, number } from '../options/option.js';
import { options } from '../options/table.js';
import { checkComparison, ofPatches } from './blocks.js';
import { cosineSimilarity } from './cosine.js';
import { method, type Pass, type Projector, term } from './method.js';
import { ntXentLoss } from './nt-xent.js';

const OPTIONS = options({
  lambda: number('--lambda <w>', 'weight of the projection loss', { min: 0, default: 0.5 }),
  projectionLoss: choice(
    '--projection-loss <name>',
    'minus the cosine similarity, or telling each target from the others',
    ['cosine', 'nt-xent'],
    { default: 'cosine' },
  ),
  projectorDim: integer('--projector-dim <n>', 'width of the perceptron', { min: 1, default: 2048 }),
});

const SETTINGS = fields({
  lambda: numeric,
  projectionLoss: oneOf('cosine', 'nt-xent'),
  projectorDim: count,
  /** Width of the features of each encoder. */
  dims: listOf(count),
});

/** The perceptron h_phi of three layers, each token by itself. */
export const perceptron = (width: number): Projector => ({
  patchesAlone: false,
  parameters: (name, hiddenSize, dim) =>
    hiddenMaps([
      ...linearPlan(`${name}.0`, width, hiddenSize, 'xavier'),
      ...linearPlan(`${name}.2`, width, width, 'xavier'),
      ...linearPlan(`${name}.4`, dim, width, 'xavier'),
    ]),
  project(p: Parameters, name: string, tokens: tf.Tensor): tf.Tensor {
    const first = dense(p, `${name}.0`, tokens); // [B, T, width]
    const second = dense(p, `${name}.2`, first, 'silu'); // [B, T, width]
    return dense(p, `${name}.4`, second, 'silu'); // [B, T, dim]
  },
});

/** Minus the mean cosine similarity of each image's projected tokens and targets, both [B, T, D]: [B]. */
export const projectionLoss = (projected: tf.Tensor, target: tf.Tensor): tf.Tensor =>
  tf.neg(tf.mean(cosineSimilarity(projected, target), -1));

/** The mean of the objective over encoders (at least one) and images: scalar. */
export function meanProjectionLoss(
  projected: readonly tf.Tensor[],
  targets: readonly tf.Tensor[],
  objective: 'cosine' | 'nt-xent',
): tf.Tensor {
  const lossOf = objective === 'cosine' ? projectionLoss : ntXentLoss;
  const losses = projected.map((tokens, i) => tf.mean(lossOf(tokens, targets[i])));
  return tf.div(tf.addN(losses), losses.length);
}

/** The targets of the aligned block's tokens: the features, with the class token before them where it is generated. */
function targetsOf({ features, companion, variant, seen, model }: Pass, { patchesAlone }: Projector): tf.Tensor[] {
  return features.map((each) => {
    const patches = variant.target?.(each) ?? each; // [B, T, dim]
    const first = companion && !patchesAlone ? [tf.expandDims(companion.clean, 1)] : []; // [B, 1, dim]
    return seen(first.length > 0 ? tf.concat([...first, patches], 1) : patches, model.alignDepth); // [B, P + T, dim]
  });
}

export const repa = method({
  name: 'repa',
  options: OPTIONS,
  presets: { repa: { lambda: 0.5, 'projection-loss': 'cosine' } },
  settings: SETTINGS,
  features: 'followed',
  isOn: ({ lambda }) => lambda > 0,
  settle({ lambda, projectionLoss, projectorDim }, { features, rows }): ShapeOf<typeof SETTINGS> {
    if (projectionLoss === 'nt-xent') checkComparison('--projection-loss nt-xent', rows);
    return { lambda, projectionLoss, projectorDim, dims: features.map(({ dim }) => dim) };
  },
  recognise(shapes): ShapeOf<typeof SETTINGS> | undefined {
    const output = shapes.has('projectors.0.projection_layer.weight') ? 'projection_layer.weight' : '4.weight';
    const encoders = countLayers(shapes, 'projectors.', output);
    if (encoders === 0) return undefined;
    const dims = Array.from({ length: encoders }, (_, i) => shapes.get(`projectors.${i}.${output}`)!.shape[0]);
    const projectorDim = shapes.get('projectors.0.0.weight')?.shape[0] ?? OPTIONS.projectorDim.fallback;
    return { lambda: OPTIONS.lambda.fallback, projectionLoss: 'cosine', projectorDim, dims };
  },
  checkFeatures({ dims }, features, option) {
    const given = features.map(({ dim }) => dim);
    if (sameShape(given, dims)) return;
    throw new UsageError(`${option} are of width ${given.join(', ')}, those of the run ${dims.join(', ')}`);
  },
  parameters: ({ dims, projectorDim }, { model, variant: { projector = perceptron(projectorDim) } }) =>
    dims.flatMap((dim, i) => projector.parameters(`projectors.${i}`, model.hiddenSize, dim)),
  projected({ projectorDim }, p, { model, hidden, variant: { projector = perceptron(projectorDim) } }) {
    return ofPatches(projector.project(p, 'projectors.0', hidden(model.alignDepth)), model); // [B, T, dim]
  },
  projectedShape: ({ dims }, model) => ({ tokens: patchCount(model), dim: dims[0] }),
  terms({ lambda, projectionLoss, projectorDim, dims }, pass) {
    const { p, hidden, model, variant } = pass;
    const projector = variant.projector ?? perceptron(projectorDim);
    const tokens = hidden(model.alignDepth); // [B, P + T, D]
    const projected = dims.map((_, i) => projector.project(p, `projectors.${i}`, tokens)); // [B, P + T, dim] each
    const targets = targetsOf(pass, projector); // [B, P + T, dim] each
    const mean = term('projection', lambda, () => meanProjectionLoss(projected, targets, projectionLoss));
    return variant.term ? [mean, variant.term(projected, targets, lambda)] : [mean];
  },
});
