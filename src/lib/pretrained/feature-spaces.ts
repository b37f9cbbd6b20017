/**
 * The networks of FDr6 (FD-loss, arXiv 2604.28190), each as its code prepares images and takes features: the whole
 * image, bicubic and antialiased, to a side; a vision transformer's class token behind its norm, SigLIP's pool,
 * ConvNeXt's mean. Where patches do not tile the side, zeros follow to the right and below. Checked against timm, which
 * that code calls (fixture fdr6).
 */
import { type Captured, capture, tf } from '../engine/index.js';
import { CLIP, IMAGENET, type Normalisation, normaliseImage, SIGNED } from '../images/normalise.js';
import { resamplePlanes } from '../images/resample.js';
import type { RgbImage } from '../images/rgb-image.js';
import { attentionPool, attentionPoolShapes, hasAttentionPool } from '../models/attention-pool.js';
import { convNext, convNextShapes, inferConvNext, isUnusedByConvNext } from '../models/convnext.js';
import { matchWeights, type Parameters, toParameters } from '../models/parameters.js';
import { fitPositions, inferViTConfig, type ViTHints, vit, vitShapes } from '../models/vit.js';
import { isUnusedByViT } from '../models/vit-names.js';
import type { FeatureNetwork } from './feature-network.js';
import { type LoadedNetwork, loadNetwork, type NetworkKind } from './load.js';

export interface FeatureSpace {
  /** The name of its weights. */
  name: string;
  kind: Extract<NetworkKind, 'vit' | 'convnext'>;
  /** Side of what it sees, before it is filled up to whole patches. */
  side: number;
  normalisation: Normalisation;
  hints?: ViTHints;
  /** The Frechet distance of ImageNet's validation images to its training images. */
  ofValidation: number;
}

/** Those besides Inception, with the constants of the published code (eval_all_fds.py). */
export const FEATURE_SPACES: readonly FeatureSpace[] = [
  { name: 'convnextv2-b', kind: 'convnext', side: 224, normalisation: IMAGENET, ofValidation: 56.87 },
  { name: 'dinov2-vit-l', kind: 'vit', side: 256, normalisation: IMAGENET, ofValidation: 14.19 },
  { name: 'mae-vit-l', kind: 'vit', side: 224, normalisation: IMAGENET, ofValidation: 0.04 },
  {
    ...{ name: 'siglip2-vit-so400m-16', kind: 'vit', side: 224, normalisation: SIGNED, ofValidation: 0.6 },
    hints: { activation: 'tanh' },
  },
  {
    // timm's network of this name has the exact GELU, although the weights were trained with another.
    ...{ name: 'clip-vit-l', kind: 'vit', side: 256, normalisation: CLIP, ofValidation: 5.6 },
    hints: { epsilon: 1e-5 },
  },
];

interface Opened {
  name: string;
  sha256: string;
  dim: number;
  /** Side of the input, of whole patches. */
  filled: number;
  compute(images: tf.Tensor): tf.Tensor;
}

/** @param loaded whose weights are read here */
function openConvNext({ side }: FeatureSpace, { name, sha256, weights }: LoadedNetwork): Opened {
  const config = inferConvNext(weights, name);
  const parameters = toParameters(matchWeights(weights, convNextShapes(config), name, isUnusedByConvNext));
  const compute = (images: tf.Tensor): tf.Tensor => convNext(parameters, config, images);
  return { name, sha256, dim: config.widths.at(-1)!, filled: side, compute };
}

function openTransformer({ side, hints }: FeatureSpace, { name, sha256, weights }: LoadedNetwork): Opened {
  const trained = inferViTConfig(weights, name, hints);
  const { width, patchSize, epsilon } = trained;
  const filled = Math.ceil(side / patchSize) * patchSize;
  const matched = matchWeights(weights, vitShapes(trained), name, isUnusedByViT);
  const fitted = fitPositions(matched, trained, { height: filled, width: filled }, 'timm');
  const parameters = toParameters(fitted.weights);
  const pool = hasAttentionPool(weights) ? poolOf(weights, name, width) : undefined;
  const heads = { heads: trained.heads, activation: trained.activation, epsilon };
  const compute = (images: tf.Tensor): tf.Tensor => {
    const { cls, patchTokens } = vit(parameters, fitted.config, images); // [B, D], [B, T, D]
    return cls ?? (pool ? attentionPool(pool, heads, patchTokens) : tf.mean(patchTokens, 1));
  };
  return { name, sha256, dim: width, filled, compute };
}

function poolOf(weights: LoadedNetwork['weights'], name: string, width: number): Parameters {
  const inner = weights.get('attn_pool.mlp.fc1.weight')?.shape[0] ?? 4 * width;
  return toParameters(
    matchWeights(weights, attentionPoolShapes(width, inner), name, (other) => !/^attn_pool\./.test(other)),
  );
}

/** The input [3, filled, filled] of an image: resized, normalised, and filled up with zeros. */
function prepare(image: RgbImage, { side, normalisation }: FeatureSpace, filled: number, out: Float32Array): void {
  const planes = normaliseImage(image, normalisation); // [3, H, W]; normalised first, as the kernel's weights sum to 1
  const seen =
    image.width === side && image.height === side
      ? planes
      : resamplePlanes(planes, image, { height: side, width: side }, 'bicubic-antialias'); // [3, side, side]
  for (let row = 0; row < 3 * side; row++) {
    const [plane, line] = [Math.floor(row / side), row % side];
    out.set(seen.subarray(row * side, (row + 1) * side), (plane * filled + line) * filled);
  }
}

/**
 * Opens one of them.
 * @param file weights in place of its name's own
 * @throws UnavailableError when its weights are not here; DataError for those of another network
 */
export async function openFeatureSpace(space: FeatureSpace, batchSize: number, file?: string): Promise<FeatureNetwork> {
  const opened = await loadNetwork({ kind: space.kind, name: space.name, file }, (loaded) =>
    space.kind === 'convnext' ? openConvNext(space, loaded) : openTransformer(space, loaded),
  );
  const { name, sha256, dim, filled, compute } = opened;
  const size = 3 * filled * filled;
  const program: Captured = capture(
    (images) => [compute(images)], // [B, D]
    [{ shape: [batchSize, 3, filled, filled], dtype: 'float32' }],
    { constants: 'bake', byRow: true },
  );
  const input = new Float32Array(batchSize * size); // [B, 3, S, S]
  return {
    name,
    sha256,
    isInception: false,
    isPublished: false,
    distance: `FD(${name})`,
    dims: { pooled: dim },
    resize: `bicubic, antialiased, to ${space.side}`,
    preprocess: { side: space.side, filled, of: 'FDr6' },
    features(images) {
      images.forEach((image, row) => {
        prepare(image, space, filled, input.subarray(row * size, (row + 1) * size));
      });
      const [pooled] = program.run(input) as Float32Array[];
      return { pooled: pooled.subarray(0, images.length * dim) };
    },
    dispose: () => program.dispose(),
  };
}
