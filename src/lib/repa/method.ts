/**
 * What a method is: REPA itself and each of its follow-ups is one file that declares its options, settings, parameters, terms
 * and the places of the network that it uses. methods.ts lists them; nothing else knows them by name.
 */
import type { Draw, FeatureSource, TrainingBatch } from '../diffusion/draws.js';
import { tf } from '../engine/index.js';
import type { HostTensor } from '../formats/host-tensor.js';
import type { Shape } from '../formats/json-shape.js';
import type { Passage } from '../models/dit.js';
import type { Architecture, TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters, Shapes } from '../models/parameters.js';
import type { PlannedParameter } from '../models/start.js';
import type { Preset } from '../options/resolve.js';
import type { Table, Values } from '../options/table.js';

/** A term of the loss. */
export interface Term {
  /** As in the log, which adds `_loss`. */
  name: string;
  weight: number;
  /** Scalar. */
  value: () => tf.Tensor;
}

/** A term of a sum; one of weight 0 is not computed. */
export const term = (name: string, weight: number, value: () => tf.Tensor): Term => ({ name, weight, value });

export const meanSquare = (predicted: tf.Tensor, wanted: tf.Tensor): tf.Tensor =>
  tf.mean(tf.squaredDifference(predicted, wanted));

/** What settings follow from besides options. */
export interface Facts {
  architecture: Architecture;
  /** As the options say it, before methods add channels. */
  model: TransformerConfig;
  /** Of the encoders, where features are asked for. */
  features: readonly FeatureSource[];
  /** Images that are computed together. */
  rows: number;
  /** The options of another method. */
  valuesOf<T extends Table>(other: { readonly name: string; readonly options: T }): Values<T>;
}

/** A perceptron or the like between hidden states and features. */
export interface Projector {
  parameters(name: string, hiddenSize: number, dim: number): PlannedParameter[];
  /** Tokens of the aligned block, [B, P + T, D], to [B, P + T, dim], or to [B, T, dim] if it takes patches alone. */
  project(p: Parameters, name: string, tokens: tf.Tensor): tf.Tensor;
  patchesAlone: boolean;
}

/** What a follow-up varies of REPA's term. */
export interface AlignmentVariant {
  projector?: Projector;
  /** What is followed in place of the features [B, T, D]. */
  target?(features: tf.Tensor): tf.Tensor;
  /** A further term, within lambda. */
  term?(projected: readonly tf.Tensor[], targets: readonly tf.Tensor[], lambda: number): Term;
}

/** The network that a method is part of. */
export interface Surroundings {
  architecture: Architecture;
  model: TransformerConfig;
  /** Tokens of an image, with those before the patches. */
  tokens: number;
  /** What all methods together vary of REPA's term. */
  variant: AlignmentVariant;
}

/** A prediction, and what it should have been. */
export interface Predicted {
  predicted: tf.Tensor;
  wanted: tf.Tensor;
}

/** One pass of the network on a noisy batch of B images, as terms see it. */
export interface Pass extends Surroundings {
  p: Parameters;
  /** The tensors that the method draws, by their names. */
  draws: Readonly<Record<string, tf.Tensor>>;
  /** Velocities of a SiT, noises of a DiT: [B, C, h, w], of the latents' own channels. */
  latents: Predicted;
  /** The same of the channels that methods add, [B, K, h, w]. */
  channels?: Predicted;
  /** Of what is generated beside the image, [B, Z]: how it moves, and as it is without noise. */
  companion?: Predicted & { clean: tf.Tensor };
  /** Tokens after block number `block`, [B, P + T, D]; fewer where some skip it. */
  hidden(block: number): tf.Tensor;
  /** Of values of all tokens [B, P + T, ...], those of the tokens that the block sees. */
  seen(values: tf.Tensor, block: number): tf.Tensor;
  /** What modulates every block, [B, D]. */
  condition: tf.Tensor;
  /** The velocity, or noise of a DiT, that what a further head predicts means, [B, C, h, w]. */
  velocityOf(predicted: tf.Tensor): tf.Tensor;
  /** Features of each encoder [B, T, D], for methods that follow them. */
  features: readonly tf.Tensor[];
  /** The same of the moving average of the network, of the same images and noise at other times [B]: for a `teacher`. */
  average(t: tf.Tensor): Pick<Pass, 'hidden' | 'condition' | 'latents'>;
}

/** What is generated beside the image, and comes to the network as tokens before the patches. */
export interface Companion<S> {
  /** Numbers of one image. */
  size(settings: S): number;
  /** Tokens of one image. */
  tokens: number;
  /** [B, Z] with noise to tokens [B, P, D]. */
  enter(p: Parameters, model: TransformerConfig, noisy: tf.Tensor): tf.Tensor;
  /** The tokens as the final layer has them, [B, P, D], to the velocity [B, Z]. */
  leave(p: Parameters, tokens: tf.Tensor): tf.Tensor;
  /** Those of a batch, and their noise; [Z] each. */
  clean(settings: S): Draw;
  noise(settings: S): Draw;
}

/** The affine map from a token of features to a few channels that are generated with the latents. */
export interface FeatureChannels {
  dim: number;
  channels: number;
  weight: Float32Array; // [K, D]
  bias: Float32Array; // [K]
}

/** What a set gives besides latents and labels, of the features of the first encoder. */
export interface Besides {
  /** Its class token. */
  classToken?: boolean;
  /** Further channels of the latents. */
  channels?: FeatureChannels;
}

/** The data of a run, as a method may look at them before the first step. */
export interface FeatureData {
  rows: number;
  features: readonly FeatureSource[];
  readFeatures(rows: Uint32Array, index: number): Promise<Float32Array>;
}

/** What a method finds on the data when a run starts, and keeps in a file of its checkpoints. */
export interface Preparation<S> {
  /** Name of the file. */
  part: string;
  fit(settings: S, data: FeatureData, seed: number): Promise<FeatureChannels>;
  store(found: FeatureChannels): [name: string, tensor: HostTensor][];
  restore(stored: Iterable<[string, HostTensor]>, source: string): FeatureChannels;
}

export interface Method<T extends Table = Table, S = unknown> {
  /** In config.json. */
  readonly name: string;
  readonly options: T;
  /** Recipes of its paper, by their names: values of options by the names that repa.toml has. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /** What config.json holds of it. */
  readonly settings: Shape<S>;
  /** Whether the options ask for it. */
  isOn(values: Values<T>): boolean;
  /** Methods that it works in place of. */
  readonly replaces?: readonly string[];
  /**
   * Its settings. Blocks are numbered from 1.
   * @throws UsageError for what does not fit the model or the data
   */
  settle(values: Values<T>, facts: Facts): S;
  /** The settings that weights tell, of a file that holds nothing else. */
  recognise?(shapes: Shapes, model: { depth: number }): S | undefined;

  /** Features that it follows, and may be without; or what it generates, which has to be stored. */
  readonly features?: 'followed' | 'generated';
  /** Whether features are still followed at a step. */
  follows?(settings: S, step: number): boolean;
  /** @throws UsageError for features that are not those of its parameters */
  checkFeatures?(settings: S, features: readonly FeatureSource[], option: string): void;
  /** What a set gives it besides latents and labels. */
  besides?(settings: S, found: FeatureChannels | undefined): Besides;
  readonly prepare?: Preparation<S>;

  /** Its parameters, under their official names. Their start is numbered by their order. */
  parameters?(settings: S, surroundings: Surroundings): PlannedParameter[];
  /**
   * What it draws for each image, by name, besides times `t` and classes `y`; `training` is false where nothing may be left
   * out.
   */
  draws?(
    settings: S,
    surroundings: Surroundings & { t: Draw; y: Draw; training: boolean },
  ): Readonly<Record<string, Draw>>;
  /** Channels that are generated with the latents. */
  channels?(settings: S): number;
  readonly companion?: Companion<S>;
  /** What it does to the tokens between the blocks; `draws` is empty where it draws nothing, as in sampling. */
  passage?(settings: S, p: Parameters, draws: Readonly<Record<string, tf.Tensor>>): Passage;
  /** The same where a weaker prediction is wanted, to be guided away from. */
  weakened?(settings: S, p: Parameters): Passage;
  /** The blocks that only part of the tokens see, and the options that say so. */
  partial?(settings: S): { from: number; to: number; option: string; range: string } | undefined;
  /** Blocks all of whose tokens it needs, and the option that does. */
  whole?(settings: S, model: TransformerConfig): { option: string; blocks: readonly number[] };
  /** What it varies of REPA's term. */
  variant?(settings: S): AlignmentVariant;
  /** Whether its terms look at the moving average of the network. */
  readonly teacher?: boolean;
  /**
   * A weaker prediction of the same pass, [B, C, h, w], which sampling may move away from: of the tokens after each block and what
   * modulates them.
   */
  weaker?(settings: S, p: Parameters, seen: Pick<Pass, 'model' | 'hidden' | 'condition'>): tf.Tensor;
  /** Its terms on what the network generates, and those on its hidden states, which follow them in the log. */
  outputTerms?(settings: S, pass: Pass): Term[];
  terms?(settings: S, pass: Pass): Term[];
}

/** Declares a method: only its type is more than the object. */
export const method = <const T extends Table, S>(declared: Method<T, S>): Method<T, S> => declared;

/** The batch and the draws that a loss reads are of these types. */
export type { Draw, FeatureSource, TrainingBatch };
