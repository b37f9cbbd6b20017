/** What training minimises besides the denoising error. Blocks are numbered from 1. */
import type { ProjectionObjective } from './projection-loss.js';

/** LayerSync: an early block follows a later one. */
export interface LayerSync {
  weight: number;
  block: number;
  teacher: number;
}

/** Dispersive Loss: a block's representations of the images of a batch repel each other. */
export interface Dispersive {
  weight: number;
  block: number;
}

/** SRA: a block follows a later block of the moving average, which sees less noise. */
export interface SelfAlignment {
  weight: number;
  block: number;
  teacher: number;
  /** The most by which the teacher's time is earlier. */
  maxTimeShift: number;
}

/** ReDi: features, in a few components, are generated with the latents as channels of their own. */
export interface Representation {
  weight: number;
  /** How many components, and so channels. */
  channels: number;
}

/** Weights of the terms, and their variants. A term of weight 0 is not computed, nor is one that is null. */
export interface AlignmentSettings {
  /** Of all terms that follow an encoder's features. */
  lambda: number;
  projectionLoss: ProjectionObjective;
  /** How much of their mean over the image features lose before they are divided by their deviation; null for neither. */
  spatialNorm: number | null;
  /** Of the manifold term, within lambda. */
  manifold: number;
  /** The step from which features are no longer followed; null for never. */
  alignUntil: number | null;
  /** Of the cosine between velocities. */
  direction: number;
  /** Of the distance to the velocities of other images. */
  contrastive: number;
  layerSync: LayerSync | null;
  dispersive: Dispersive | null;
  selfAlignment: SelfAlignment | null;
  /** REG: of the velocity of the encoder's class token, which is generated with the image. */
  classToken: number;
  representation: Representation | null;
}

/** The recipe of the paper (arXiv 2410.06940, section 4). */
export const REPA: AlignmentSettings = {
  lambda: 0.5,
  projectionLoss: 'cosine',
  spatialNorm: null,
  manifold: 0,
  alignUntil: null,
  direction: 0,
  contrastive: 0,
  layerSync: null,
  dispersive: null,
  selfAlignment: null,
  classToken: 0,
  representation: null,
};
