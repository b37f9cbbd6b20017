/** Networks in whose features sets of images are compared. */
import { capture } from '../engine/index.js';
import type { RgbImage } from '../images/rgb-image.js';
import { inception } from '../models/inception.js';
import { INCEPTION_SIDE, type InceptionResize, inceptionInput } from '../models/inception-input.js';
import {
  CLASSES,
  foldBatchNorms,
  inceptionShapes,
  isUnusedByInception,
  POOL_DIM,
} from '../models/inception-parameters.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { loadNetwork } from '../weights/load.js';
import { openEncoder, refuseOnnxOptions } from './encoder.js';
import type { InputNormalisation } from './onnx-encoder.js';
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
  /** Whether it is the network of the published numbers: only with it are they called FID. */
  readonly isPublished: boolean;
  readonly dim: number;
  /** How images are brought to the network's size, as recorded with each number. */
  readonly resize: string;
  /** Side of the square crop that it wants; undefined if it takes any size. */
  readonly size: number | undefined;
  /** Features of at most `batchSize` images. */
  features(images: readonly RgbImage[]): ImageFeatures;
  dispose(): void;
}

export interface FeatureNetworkOptions {
  /** `inception`, the name of an encoder, or an .onnx file. */
  net: string;
  weights?: string;
  /** Of an .onnx file: the output to take, and what its input's values are. */
  output?: string;
  normalise?: InputNormalisation;
  /** Of Inception's input. */
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
    { constants: 'bake' },
  );
  const input = new Float32Array(batchSize * size); // [B, 3, 299, 299]
  return {
    name,
    sha256,
    isInception: true,
    isPublished: sha256.startsWith(PUBLISHED_SHA256),
    dim: POOL_DIM,
    resize,
    size: undefined,
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

/** An encoder's class token, or without one the mean of its patch tokens. */
async function openEncoderFeatures({ net, ...options }: FeatureNetworkOptions): Promise<FeatureNetwork> {
  const { weights, output, normalise, batchSize } = options;
  const encoder = await openEncoder({ encoder: net, weights, output, normalise, posEmbed: 'timm', batchSize });
  const { name, sha256, dim, tokens, size } = encoder;
  return {
    name,
    sha256,
    isInception: false,
    isPublished: false,
    dim,
    resize: `adm crop to ${size}`,
    size,
    features(images) {
      const { cls, feature } = encoder.encode(images);
      return { pooled: cls ?? tokenMeans(feature, tokens, dim) };
    },
    dispose: () => encoder.dispose(),
  };
}
