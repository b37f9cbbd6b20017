/** The losses of REPA: denoising of noisy latents, and the alignment of early tokens (the official SILoss, and DiT's). */
import { ddpmLoss, diffuse } from '../diffusion/ddpm-loss.js';
import type { TrainingPath } from '../diffusion/interpolant.js';
import { interpolate } from '../diffusion/interpolate.js';
import { tf } from '../engine/index.js';
import { type AlignedConfig, selfAlignmentHead } from '../models/alignment.js';
import { type DiTConfig, dit } from '../models/dit.js';
import type { Parameters } from '../models/parameters.js';
import { type SiTConfig, sit } from '../models/sit.js';
import { inRange, partTokens, type TokenRoute } from '../models/token-route.js';
import { dispersiveLoss, layerSyncLoss, selfAlignmentLoss } from './hidden-terms.js';
import { manifoldLoss } from './manifold.js';
import { meanProjectionLoss } from './projection-loss.js';
import type { AlignmentSettings, Representation } from './settings.js';
import { spatialNorm } from './spatial-norm.js';
import { type Losses, type Term, term, weightedSum } from './terms.js';
import { contrastiveLoss, directionLoss } from './velocity-terms.js';

/** What a network is trained on. */
export interface LossInputs {
  /** Clean latents [B, C, h, w]; of ReDi with the channels that hold features. */
  x: tf.Tensor;
  /** Standard normals [B, C, h, w]. */
  noise: tf.Tensor;
  /** Of SiT: times [B], 0 = data, 1 = noise. Of DiT: steps [B] int32 of 0..999. */
  t: tf.Tensor;
  /** Classes [B] int32, dropped ones already replaced by the null class. */
  y: tf.Tensor;
  /** Features of each encoder, [B, T, D]; empty where nothing is aligned. */
  targets: readonly tf.Tensor[];
  /** Of a model that generates a class token: the encoder's and standard normals, [B, Z] each. */
  classToken?: { x: tf.Tensor; noise: tf.Tensor };
  /** Which tokens skip blocks. */
  route?: TokenRoute;
  /** 1 for images whose middle blocks count, [B]. */
  pathKept?: tf.Tensor;
  /** Of self-alignment: the moving average of the parameters, and its times [B]. */
  teacher?: { parameters: Parameters; t: tf.Tensor };
  /** How many blocks are computed again in the backward pass; none by default. */
  checkpointBlocks?: number;
}

/** SiT's: the mean squared error of the velocity, and the alignment. */
export function sitTrainingLoss(
  parameters: Parameters,
  model: SiTConfig,
  { x, noise, t, y, targets, classToken, route, pathKept, teacher, checkpointBlocks }: LossInputs,
  settings: AlignmentSettings & { path: TrainingPath },
): Losses {
  const { path, direction, contrastive, representation } = settings;
  const { xT, velocity } = interpolate(path, x, noise, t);
  const noisyClass = classToken && interpolate(path, classToken.x, classToken.noise, t); // [B, Z]
  const projectors = targets.length > 0;
  const options = { projectors, checkpointBlocks, classToken: noisyClass?.xT, route, pathKept };
  const output = sit(parameters, model, xT, t, y, options);
  const [predicted, ofFeatures] = splitChannels(output.velocity, representation); // [B, C, h, w], [B, K, h, w]
  const [wanted, wantedOfFeatures] = splitChannels(velocity, representation);
  const seen = followedTokens(model, targets, classToken?.x, route, settings);
  return weightedSum([
    term('velocity', 1, () => meanSquare(predicted, wanted)),
    term('representation', representation?.weight ?? 0, () => meanSquare(ofFeatures, wantedOfFeatures)),
    term('class_token', settings.classToken, () => meanSquare(output.classVelocity!, noisyClass!.velocity)),
    term('direction', direction, () => directionLoss(predicted, wanted)),
    term('contrastive', -contrastive, () => contrastiveLoss(predicted, wanted)),
    ...encoderTerms(output.projected, seen, settings),
    ...hiddenTerms(output.hidden, settings),
    ...teacherTerms(),
  ]);

  /** The teacher sees the same noise, and less of it. */
  function teacherTerms(): Term[] {
    const { selfAlignment } = settings;
    if (!selfAlignment || !teacher) return [];
    const seen = interpolate(path, x, noise, teacher.t).xT; // [B, C, h, w]
    const token = classToken && interpolate(path, classToken.x, classToken.noise, teacher.t).xT; // [B, Z]
    const { hidden } = sit(teacher.parameters, model, seen, teacher.t, y, { projectors: false, classToken: token });
    const student = selfAlignmentHead(parameters, output.hidden[selfAlignment.block - 1]); // [B, T, D]
    const value = () => selfAlignmentLoss(student, hidden[selfAlignment.teacher - 1]);
    return [term('self_alignment', selfAlignment.weight, value)];
  }
}

/** DiT's: the mean squared error of the noise, the variational bound in bits per dimension, and the alignment. */
export function ditTrainingLoss(
  parameters: Parameters,
  model: DiTConfig,
  { x, noise, t, y, targets, route, pathKept, checkpointBlocks }: LossInputs,
  settings: AlignmentSettings,
): Losses {
  const options = { projectors: targets.length > 0, checkpointBlocks, route, pathKept };
  const output = dit(parameters, model, diffuse(x, noise, t), tf.cast(t, 'float32'), y, options);
  const { squaredError, bound } = ddpmLoss(output.prediction, x, noise, t);
  return weightedSum([
    term('noise', 1, () => tf.mean(squaredError)),
    term('bound', 1, () => tf.mean(bound)),
    ...encoderTerms(output.projected, followedTokens(model, targets, undefined, route, settings), settings),
    ...hiddenTerms(output.hidden, settings),
  ]);
}

const meanSquare = (predicted: tf.Tensor, wanted: tf.Tensor): tf.Tensor =>
  tf.mean(tf.squaredDifference(predicted, wanted));

/** Channels of the latents, and those that hold features (none without): [B, C, h, w] and [B, K, h, w]. */
function splitChannels(x: tf.Tensor, representation: Representation | null): tf.Tensor[] {
  if (!representation) return [x];
  const { channels } = representation;
  return tf.split(x, [x.shape[1]! - channels, channels], 1);
}

/**
 * What the tokens of the aligned block are to follow, [B, T, D] of each encoder: its features, behind its class token
 * where the model has one (a convolution projects patches alone), and of these the tokens that do not skip the block.
 */
function followedTokens(
  model: AlignedConfig,
  features: readonly tf.Tensor[],
  classToken: tf.Tensor | undefined,
  route: TokenRoute | undefined,
  { spatialNorm: gamma }: AlignmentSettings,
): tf.Tensor[] {
  return features.map((each) => {
    const patches = gamma === null ? each : spatialNorm(each, gamma);
    const withClass = classToken && model.projector === 'mlp';
    const tokens = withClass ? tf.concat([tf.expandDims(classToken, 1), patches], 1) : patches;
    return route && inRange(route.blocks, model.alignDepth) ? partTokens(tokens, route)[0] : tokens;
  });
}

/** How far projected tokens are from what they follow. */
function encoderTerms(
  projected: readonly tf.Tensor[],
  targets: readonly tf.Tensor[],
  { lambda, projectionLoss, manifold }: AlignmentSettings,
): Term[] {
  if (targets.length === 0) return [];
  const manifolds = (): tf.Tensor[] => targets.map((target, i) => manifoldLoss(projected[i], target));
  return [
    term('projection', lambda, () => meanProjectionLoss(projected, targets, projectionLoss)),
    term('manifold', lambda * manifold, () => tf.div(tf.addN(manifolds()), targets.length)),
  ];
}

/** What blocks are told about themselves; `hidden` are the tokens after each. */
function hiddenTerms(hidden: readonly tf.Tensor[], { layerSync, dispersive }: AlignmentSettings): Term[] {
  const after = (block: number): tf.Tensor => hidden[block - 1]; // [B, T, D]
  const terms: Term[] = [];
  if (layerSync) {
    const { weight, block, teacher } = layerSync;
    terms.push(term('layer_sync', weight, () => layerSyncLoss(after(block), after(teacher))));
  }
  if (dispersive) {
    const { weight, block } = dispersive;
    terms.push(term('dispersive', weight, () => dispersiveLoss(after(block))));
  }
  return terms;
}
