/** Frozen image encoders, whose patch features are REPA's targets: weights, architecture and preprocessing in one. */
import { type Captured, capture } from '../engine/index.js';
import { UsageError } from '../errors.js';
import { findWeights } from '../hub/locate.js';
import { encoderSide, preprocessForEncoder } from '../images/preprocess.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { fitPositions, inferViTConfig, vit, vitShapes } from '../models/vit.js';
import { isUnusedByViT } from '../models/vit-names.js';
import type { PositionResampling } from '../nn/positions.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Encoder, InputNormalisation } from './encoder-interface.js';
import { encoderOf, knownEncoder } from './encoders.js';
import { loadNetwork } from './load.js';

export type { Encoder } from './encoder-interface.js';

export interface EncoderOptions {
  /** The name of a known network, or an .onnx file; default `DEFAULT_ENCODER`, or the family that `weights` tell. */
  encoder?: string;
  /** A weights file, in place of the name's own; its architecture is inferred. */
  weights?: string;
  /** Attention heads, where they are not those of published models of the width. */
  heads?: number;
  /** How position embeddings are resampled to another grid. */
  posEmbed: PositionResampling;
  /** Side of the crop, if not the encoder's own. */
  size?: number;
  /** For an .onnx file: the output to take, and the values of its input. */
  output?: string;
  normalise?: InputNormalisation;
  batchSize: number;
}

/** That of the paper. */
export const DEFAULT_ENCODER = 'dinov2-vit-b';

/**
 * Opens an encoder by name, weights file or ONNX file.
 * @throws UsageError for a name that is not known; UnavailableError for one whose weights are not here; DataError for
 *   weights of another network
 */
export async function openEncoder(options: EncoderOptions): Promise<Encoder> {
  const { encoder, weights, heads } = options;
  const file = encoder?.endsWith('.onnx') ? encoder : embeddedOnnx(encoder);
  if (encoder !== undefined && file !== undefined) {
    if (weights !== undefined || heads !== undefined) {
      throw new UsageError(`${encoder} holds its weights and their architecture: drop --weights and --heads`);
    }
    const { openOnnxEncoder } = await import('./onnx-encoder.js');
    if (file !== encoder) refuseOnnxOptions(encoder, options);
    return openOnnxEncoder({ ...options, file, name: file === encoder ? undefined : encoder });
  }
  refuseOnnxOptions(encoder ?? weights ?? DEFAULT_ENCODER, options);
  return openViT(options);
}

/** The file of a network that ships with repa as ONNX. */
function embeddedOnnx(name: string | undefined): string | undefined {
  const file = name === undefined ? undefined : findWeights(name);
  return file?.endsWith('.onnx') ? file : undefined;
}

/** @throws UsageError when options of ONNX files are given with the network `name`. */
export function refuseOnnxOptions(name: string, options: Pick<EncoderOptions, 'output' | 'normalise'>): void {
  if (options.output === undefined && options.normalise === undefined) return;
  throw new UsageError(`--output and --normalise are for ONNX files: ${name} has its own`);
}

/** Loads an encoder's weights, and settles what they leave open. */
async function loadViT({ encoder, weights: file, heads, size, posEmbed }: EncoderOptions) {
  if (encoder !== undefined) knownEncoder(encoder); // a wrong name is told before weights are looked for
  return loadNetwork({ kind: 'vit', name: encoder ?? DEFAULT_ENCODER, file }, ({ name, sha256, weights: found }) => {
    const { preprocess, cropSize, ...hints } = encoderOf(encoder, found, name);
    const trained = inferViTConfig(found, name, { ...hints, heads: heads ?? hints.heads });
    const weights = matchWeights(found, vitShapes(trained), name, isUnusedByViT);
    const crop = size ?? cropSize;
    const side = encoderSide(trained.patchSize, crop);
    const { config, ...fitted } = fitPositions(weights, trained, { height: side, width: side }, posEmbed);
    return { name, sha256, preprocess, size: crop, side, config, parameters: toParameters(fitted.weights) };
  });
}

async function openViT(options: EncoderOptions): Promise<Encoder> {
  const { name, sha256, preprocess, size, side, config, parameters } = await loadViT(options);
  const program: Captured = capture(
    (images) => {
      const { patchTokens, cls } = vit(parameters, config, images); // [B, T, D], [B, D]
      return cls ? [patchTokens, cls] : [patchTokens];
    },
    [{ shape: [options.batchSize, 3, side, side], dtype: 'float32' }],
    { constants: 'bake', byRow: true },
  );
  const tokens = config.grid.height * config.grid.width;
  const input = new Float32Array(options.batchSize * 3 * side * side); // [B, 3, S, S]
  return {
    name,
    sha256,
    size,
    side,
    preprocess: {
      crop: 'adm',
      size,
      encoder: preprocess,
      side,
      positions: options.posEmbed,
      ...(options.heads === undefined ? {} : { heads: options.heads }),
    },
    tokens,
    dim: config.width,
    hasCls: config.classToken,
    encode(crops) {
      crops.forEach((crop, row) => {
        input.set(preprocessForEncoder(preprocess, crop, side), row * sizeOf([3, side, side]));
      });
      // Fewer crops than the batch size are computed at full size: another size would have to be compiled.
      const [feature, cls] = program.run(input) as [Float32Array, Float32Array | undefined];
      return {
        feature: feature.subarray(0, crops.length * tokens * config.width),
        cls: cls?.subarray(0, crops.length * config.width),
      };
    },
    dispose: () => program.dispose(),
  };
}
