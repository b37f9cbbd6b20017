/** Networks in whose features sets of images are compared. */
import { capture } from '../engine/index.js';
import { centerCrop } from '../images/crop.js';
import { resizePillow } from '../images/pillow-resize.js';
import type { RgbImage } from '../images/rgb-image.js';
import type { FeatureKind } from '../metrics/statistics-file.js';
import {
  CLASSES,
  foldBatchNorms,
  INCEPTION_SIDE,
  type InceptionResize,
  inception,
  inceptionInput,
  inceptionShapes,
  isUnusedByInception,
  POOL_DIM,
  SPATIAL_DIM,
} from '../models/inception.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { openEncoder, refuseOnnxOptions } from './encoder.js';
import type { InputNormalisation } from './encoder-interface.js';
import { loadNetwork } from './load.js';
import { tokenMeans } from './token-means.js';

/** Classes of the Inception network's scores. */
export const INCEPTION_CLASSES = CLASSES;

/** Features of N images. The arrays may be views of memory that the next call overwrites. */
export interface ImageFeatures {
  /** One vector an image: [N, dim]. */
  pooled: Float32Array;
  /** Inception's spatial features, which sFID compares: [N, 2023]. */
  spatial?: Float32Array;
  /** Inception's class scores: [N, 1008]. */
  logits?: Float32Array;
}

export interface FeatureNetwork {
  readonly name: string;
  readonly sha256: string;
  readonly isInception: boolean;
  /** Whether published numbers are of this network: only then our numbers have their names. */
  readonly isPublished: boolean;
  /** The name of the Frechet distance of its features: `FID`, `FD-DINOv2`, or `FD(network)`. */
  readonly distance: string;
  /** How many features there are of each kind. */
  readonly dims: Readonly<Record<'pooled', number> & Partial<Record<FeatureKind, number>>>;
  /** How images are brought to the network's size, as recorded with each number. */
  readonly resize: string;
  /** What else features depend on besides the weights: the output taken, normalisation, positions. */
  readonly preprocess: Readonly<Record<string, unknown>>;
  /** Features of at most `batchSize` square images of any size. */
  features(images: readonly RgbImage[]): ImageFeatures;
  dispose(): void;
}

export interface FeatureNetworkOptions {
  /** `inception`, the name of an encoder, or an .onnx file. */
  net: string;
  weights?: string;
  /** For an .onnx file: the output to take, and the values of its input. */
  output?: string;
  normalise?: InputNormalisation;
  /** How Inception's input is resized. */
  resize: InceptionResize;
  batchSize: number;
}

/**
 * @throws UnavailableError for a name whose weights are not here; DataError for weights of another network
 */
export const openFeatureNetwork = (options: FeatureNetworkOptions): Promise<FeatureNetwork> =>
  options.net === 'inception' ? openInception(options) : openEncoderFeatures(options);

const INCEPTION_WEIGHTS = 'inception-2015';

/** How the SHA-256 of the published weights starts (their file's name says it): only with them is it FID. */
const PUBLISHED_SHA256 = '6726825d';

async function openInception(options: FeatureNetworkOptions): Promise<FeatureNetwork> {
  refuseOnnxOptions(options.net, options);
  const { weights: file, resize, batchSize } = options;
  const { name, sha256, parameters } = await loadNetwork(
    { kind: 'inception', name: INCEPTION_WEIGHTS, file },
    ({ name, sha256, weights }) => {
      const matched = matchWeights(weights, inceptionShapes(), name, isUnusedByInception);
      return { name, sha256, parameters: toParameters(foldBatchNorms(matched)) };
    },
  );
  const size = 3 * INCEPTION_SIDE * INCEPTION_SIDE;
  const program = capture(
    (images) => {
      const { pool, spatial, logits } = inception(parameters, images);
      return [pool, spatial, logits]; // [B, 2048], [B, 2023], [B, 1008]
    },
    [{ shape: [batchSize, 3, INCEPTION_SIDE, INCEPTION_SIDE], dtype: 'float32' }],
    { constants: 'bake', byRow: true },
  );
  const input = new Float32Array(batchSize * size); // [B, 3, 299, 299]
  const isPublished = sha256.startsWith(PUBLISHED_SHA256);
  return {
    name,
    sha256,
    isInception: true,
    isPublished,
    distance: isPublished ? 'FID' : `FD(${name})`,
    dims: { pooled: POOL_DIM, spatial: SPATIAL_DIM },
    resize,
    preprocess: {},
    features(images) {
      images.forEach((image, row) => {
        inceptionInput(image, resize, input.subarray(row * size, (row + 1) * size));
      });
      // Fewer images than the batch size are computed at full size: another size would have to be compiled.
      const [pooled, spatial, logits] = program.run(input).map((values) => {
        return (values as Float32Array).subarray(0, (values.length / batchSize) * images.length);
      });
      return { pooled, spatial, logits };
    },
    dispose: () => program.dispose(),
  };
}

const DINOV2 = /^dinov2(reg)?-vit-[sblg]$/;

/** The network of FD-DINOv2 (Stein et al., arXiv 2306.04675). */
const FD_DINOV2 = 'dinov2-vit-l';

/**
 * An encoder's class token, or without one the mean of its patch tokens. Images are prepared as for training, but for
 * DINOv2's family as FD-DINOv2 is defined: the whole image to 224 pixels, antialiased and in 8 bits as Pillow resizes,
 * and position embeddings resampled as DINOv2 itself does it.
 */
async function openEncoderFeatures({ net, ...options }: FeatureNetworkOptions): Promise<FeatureNetwork> {
  const { weights, output, normalise, batchSize } = options;
  const shared = { encoder: net, weights, output, normalise, batchSize };
  const isDinov2 = DINOV2.test(net);
  const encoder = await openEncoder({ ...shared, posEmbed: isDinov2 ? 'dinov2' : 'timm' });
  const { name, sha256, dim, tokens, size, side, preprocess } = encoder;
  const isPublished = net === FD_DINOV2 && weights === undefined;
  return {
    name,
    sha256,
    isInception: false,
    isPublished,
    distance: isPublished ? 'FD-DINOv2' : `FD(${name})`,
    dims: { pooled: dim },
    resize: isDinov2 ? `bicubic to ${side}` : `adm crop to ${size}`,
    preprocess,
    features(images) {
      const prepare = (image: RgbImage): RgbImage =>
        isDinov2 ? resizePillow(image, side, side, 'bicubic') : centerCrop(image, size);
      const { cls, feature } = encoder.encode(images.map(prepare));
      return { pooled: cls ?? tokenMeans(feature, tokens, dim) };
    },
    dispose: () => encoder.dispose(),
  };
}
