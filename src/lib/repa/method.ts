/**
 * What a method is: REPA itself and each of its follow-ups is one file that declares its options, settings, parameters,
 * terms and the places of the network that it uses. methods.ts lists them; nothing else knows them by name.
 */
import type { Draw, FeatureSource, TrainingBatch } from '../diffusion/draws.js';
import type { tf } from '../engine/index.js';
import type { HostTensor } from '../formats/host-tensor.js';
import type { Shape } from '../formats/json-shape.js';

import type { Architecture, TransformerConfig } from '../models/dit-sizes.js';
import type { Parameters, Shapes } from '../models/parameters.js';
import type { Passage } from '../models/passage.js';
import type { PlannedParameter } from '../models/start.js';
import type { Preset } from '../options/resolve.js';
import type { Table, Values } from '../options/table.js';
import type { Pass, Surroundings } from './pass.js';
import type { Term } from './term.js';
import type { AlignmentVariant } from './variant.js';

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
   * What it draws for each image, by name, besides times `t` and classes `y`; `training` is false where nothing may be
   * left out.
   */
  draws?(
    settings: S,
    surroundings: Surroundings & { t: Draw; y: Draw; training: boolean },
  ): Readonly<Record<string, Draw>>;
  /** A time for each patch, [B, T], where it draws one in training; `t` [B] are those of the images. */
  tokenTimes?(settings: S, draws: Readonly<Record<string, tf.Tensor>>, t: tf.Tensor): tf.Tensor | undefined;
  /** Channels that are generated with the latents, and how far they are ahead of them on the way from noise to data. */
  channels?(settings: S): number;
  lead?(settings: S): number;
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
   * A weaker prediction of the same pass, [B, C, h, w], which sampling may move away from: of the tokens after each
   * block and what modulates them.
   */
  weaker?(settings: S, p: Parameters, seen: Pick<Pass, 'model' | 'hidden' | 'condition'>): tf.Tensor;
  /** The tokens of the patches as features see them, [B, T, dim], of the tokens after each block. */
  projected?(settings: S, p: Parameters, seen: Pick<Pass, 'model' | 'hidden' | 'variant'>): tf.Tensor;
  /** The tokens and the width of that, of one image. */
  projectedShape?(settings: S, model: TransformerConfig): { tokens: number; dim: number };
  /** Its terms on what the network generates, and those on its hidden states, which follow them in the log. */
  outputTerms?(settings: S, pass: Pass): Term[];
  terms?(settings: S, pass: Pass): Term[];
}

/** Declares a method: only its type is more than the object. */
export const method = <const T extends Table, S>(declared: Method<T, S>): Method<T, S> => declared;

// biome-ignore lint/suspicious/noExplicitAny: each knows its own settings
export type AnyMethod = Method<any, any>;

/** A method that is on. */
export interface ActiveMethod {
  method: AnyMethod;
  // biome-ignore lint/suspicious/noExplicitAny: of the method's own type
  settings: any;
}

export { meanSquare, type Pass, type Predicted, type Surroundings } from './pass.js';
export { type Term, term } from './term.js';
export type { AlignmentVariant, Projector } from './variant.js';
/** The file of a method imports from here alone what it is made of. */
export type { Draw, FeatureSource, TrainingBatch };
