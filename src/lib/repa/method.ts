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

/** What a method's settings depend on besides its options. */
export interface Facts {
  architecture: Architecture;
  /** The model that the options name, before methods add channels. */
  model: TransformerConfig;
  /** The features of each encoder; none where no method asks for them. */
  features: readonly FeatureSource[];
  /** Images that are computed together. */
  rows: number;
  /** The options of another method. */
  valuesOf<T extends Table>(other: { readonly name: string; readonly options: T }): Values<T>;
}

/** What is generated beside the image, and comes to the network as tokens before the patches. */
export interface Companion<S> {
  /** Z, how many numbers there are for one image. */
  size(settings: S): number;
  /** P, how many tokens they become. */
  tokens: number;
  /** Turns noisy numbers [B, Z] into tokens [B, P, D]. */
  enter(p: Parameters, model: TransformerConfig, noisy: tf.Tensor): tf.Tensor;
  /** Turns these tokens after the last block, [B, P, D], into the velocity [B, Z]. */
  leave(p: Parameters, tokens: tf.Tensor): tf.Tensor;
  /** What each image of a batch has, and the noise that is added to it: [Z] each. */
  clean(settings: S): Draw;
  noise(settings: S): Draw;
}

/** The affine map from a token of features [D] to the K channels that are generated with the latents. */
export interface FeatureChannels {
  dim: number;
  channels: number;
  weight: Float32Array; // [K, D]
  bias: Float32Array; // [K]
}

/** What a training set takes from the features of the first encoder, besides the features themselves. */
export interface Besides {
  /** The class token. */
  classToken?: boolean;
  /** Further channels of the latents. */
  channels?: FeatureChannels;
}

/** The data of a run, for methods that look at them before the first step. */
export interface FeatureData {
  rows: number;
  features: readonly FeatureSource[];
  readFeatures(rows: Uint32Array, index: number): Promise<Float32Array>;
}

/** What a method computes from the data when a run starts, and keeps in a file of each checkpoint. */
export interface Preparation<S> {
  /** Name of the file, without .safetensors. */
  part: string;
  fit(settings: S, data: FeatureData, seed: number): Promise<FeatureChannels>;
  store(found: FeatureChannels): [name: string, tensor: HostTensor][];
  restore(stored: Iterable<[string, HostTensor]>, source: string): FeatureChannels;
}

export interface Method<T extends Table = Table, S = unknown> {
  /** Its name in config.json. */
  readonly name: string;
  readonly options: T;
  /** Its paper's recipes by name: values of options, under the names that repa.toml has. */
  readonly presets?: Readonly<Record<string, Preset>>;
  /** The shape of its settings in config.json. */
  readonly settings: Shape<S>;
  /** Whether the options ask for it. */
  isOn(values: Values<T>): boolean;
  /** Names of the methods that it replaces. */
  readonly replaces?: readonly string[];
  /**
   * Its settings. Blocks are numbered from 1.
   * @throws UsageError for what does not fit the model or the data
   */
  settle(values: Values<T>, facts: Facts): S;
  /** Its settings as the names and shapes of weights tell them, for a file that holds weights alone. */
  recognise?(shapes: Shapes, model: { depth: number }): S | undefined;

  /** Whether it follows features (stored, or computed on the way) or generates them, which have to be stored. */
  readonly features?: 'followed' | 'generated';
  /** Whether features are still followed at a step. */
  follows?(settings: S, step: number): boolean;
  /** @throws UsageError for features that are not those of its parameters */
  checkFeatures?(settings: S, features: readonly FeatureSource[], option: string): void;
  /** What a training set has to give it besides latents and labels. */
  besides?(settings: S, found: FeatureChannels | undefined): Besides;
  readonly prepare?: Preparation<S>;

  /** Its parameters under their official names. Their order numbers the random draws of their start. */
  parameters?(settings: S, surroundings: Surroundings): PlannedParameter[];
  /**
   * What it draws for each image, by name, besides times `t` and classes `y`. `training` is false in validation, where
   * nothing is left out.
   */
  draws?(
    settings: S,
    surroundings: Surroundings & { t: Draw; y: Draw; training: boolean },
  ): Readonly<Record<string, Draw>>;
  /** The time of each patch, [B, T], if the method drew one; `t` [B] are the times of the images. */
  tokenTimes?(settings: S, draws: Readonly<Record<string, tf.Tensor>>, t: tf.Tensor): tf.Tensor | undefined;
  /** How many channels it adds to the latents, and how far these are ahead of them on the way from noise to data. */
  channels?(settings: S): number;
  lead?(settings: S): number;
  readonly companion?: Companion<S>;
  /** What it does to the tokens between the blocks; `draws` is empty in sampling. */
  passage?(settings: S, p: Parameters, draws: Readonly<Record<string, tf.Tensor>>): Passage;
  /** The same for a weaker prediction, which guidance moves away from. */
  weakened?(settings: S, p: Parameters): Passage;
  /** The blocks that only part of the tokens pass, and the options that say so. */
  partial?(settings: S): { from: number; to: number; option: string; range: string } | undefined;
  /** The blocks of which it needs all tokens, and the option that asks for them. */
  whole?(settings: S, model: TransformerConfig): { option: string; blocks: readonly number[] };
  /** What it changes in REPA's term. */
  variant?(settings: S): AlignmentVariant;
  /** Whether its terms look at the moving average of the network. */
  readonly teacher?: boolean;
  /**
   * A weaker prediction of the same pass, [B, C, h, w], which sampling may move away from: made of the tokens after a
   * block and of what modulates them.
   */
  weaker?(settings: S, p: Parameters, seen: Pick<Pass, 'model' | 'hidden' | 'condition'>): tf.Tensor;
  /** The patches of the aligned block through the projector, [B, T, dim]. */
  projected?(settings: S, p: Parameters, seen: Pick<Pass, 'model' | 'hidden' | 'variant'>): tf.Tensor;
  /** How many tokens that gives for one image, and their width. */
  projectedShape?(settings: S, model: TransformerConfig): { tokens: number; dim: number };
  /** Its terms on the output of the network, and those on its hidden states, which follow them in the log. */
  outputTerms?(settings: S, pass: Pass): Term[];
  terms?(settings: S, pass: Pass): Term[];
}

/** Declares a method: gives back the same object, with its types inferred. */
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
/** What the file of a method is made of, so that it imports this file alone. */
export type { Draw, FeatureSource, TrainingBatch };
