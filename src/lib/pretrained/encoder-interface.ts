/** The interface of frozen encoders of images. */
import type { RgbImage } from '../images/rgb-image.js';

/** Input values: standardised by the mean and deviation of ImageNet or CLIP, in [-1, 1], or in [0, 1]. */
export type InputNormalisation = 'imagenet' | 'clip' | 'signed' | 'unit';

export interface Encoder {
  /** Its name, as recorded in `repa.model`. */
  readonly name: string;
  readonly sha256: string;
  /** Side of the square crop that it takes. */
  readonly size: number;
  /** Side of its input: smaller than `size` where it resizes a crop. A crop of this side is taken as it is. */
  readonly side: number;
  /** Its preprocessing, as recorded in `repa.preprocess`. */
  readonly preprocess: Readonly<Record<string, unknown>>;
  /** The engine that computes it, if not the selected backend. */
  readonly engine?: string;
  readonly tokens: number;
  readonly dim: number;
  readonly hasCls: boolean;
  /** Features of at most `batchSize` square crops of `size` pixels. */
  encode(crops: readonly RgbImage[]): EncoderOutput;
  dispose(): void;
}

export interface EncoderOutput {
  /** Patch tokens, row by row of the grid. */
  feature: Float32Array; // [N, T, D]
  /** The class token, where the network has one. */
  cls: Float32Array | undefined; // [N, D]
}
