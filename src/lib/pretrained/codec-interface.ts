/** The interface of codecs, which encode images to latents and decode them. */
import type { LatentScale } from './latent-scale.js';

/** Images are [N, 3, H, W] in [-1, 1]; latents [N, C, h, w] are as the codec gives them, not yet scaled. */
export interface Codec {
  /** Its name, as recorded in `repa.model`. */
  readonly name: string;
  /** Hash of the weights file; absent where there are no weights. */
  readonly sha256?: string;
  /** `moments`: mean and std of a posterior, to be sampled at each training step; `latent`: the latent itself. */
  readonly column: 'moments' | 'latent';
  readonly channels: number;
  /** Pixels of the image along one side of a latent pixel. */
  readonly downsampling: number;
  /** The scale of its latents; undefined where nothing tells it. */
  readonly scale: LatentScale | undefined;
  /** SHA-256 of the statistics that each position of its latents is standardised by, where it is. */
  readonly statistics?: string;
  /** What was left out of its file, one sentence each. */
  readonly notes?: readonly string[];
  /** Moments [N, 2C, h, w] or latents [N, C, h, w], as `column` says, of `count` square images of `size` pixels. */
  encode(images: Float32Array, count: number, size: number): Float32Array;
  /** Images [N, 3, H, W] of `count` square latents of `size` latent pixels. */
  decode(latents: Float32Array, count: number, size: number): Float32Array;
  dispose(): void;
}
