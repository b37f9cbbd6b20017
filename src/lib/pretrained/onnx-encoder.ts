/** Any image encoder as an ONNX file, whose inputs and outputs are read from the model itself. */
import path from 'node:path';
import { capture, engineInfo } from '../engine/index.js';
import { notice } from '../engine/notice.js';
import { type FloatTensor, type OnnxModel, openOnnxModel, type Port } from '../engine/onnx-model.js';
import { activeDevice } from '../engine/select.js';
import { DataError, UsageError } from '../errors.js';
import { CLIP, IMAGENET, mapChannels, normaliseImage, toSignedUnit } from '../images/normalise.js';
import type { RgbImage } from '../images/rgb-image.js';
import { showShape, sizeOf } from '../numbers/typed-array.js';
import type { Encoder, InputNormalisation } from './encoder-interface.js';
import { onnxHash } from './onnx-hash.js';
import { type Grid, tokenGrid, toTokens } from './token-grid.js';

export interface OnnxEncoderOptions {
  /** The .onnx file. */
  file: string;
  /** Its name, if not that of the file. */
  name?: string;
  /** Name of the output to take; by default the first that is a map, a sequence or a vector, in this order. */
  output?: string;
  normalise?: InputNormalisation;
  /** Side of the crop and so of the input, where the model leaves it open. */
  size?: number;
  batchSize: number;
}

/** Side of the input where neither the model nor an option tells: most encoders were trained at it. */
const USUAL_SIDE = 224;

/** Of a batch of images: a file may ask for any. */
const MOST_NUMBERS = 2 ** 28;

interface ImagePort {
  /** Whether channels come first or last, in maps as in the input. */
  channels: 'first' | 'last';
  /** Images that one run takes, where the model fixes it. */
  batch: number | undefined;
  /** Undefined where the model takes any size. */
  side: number | undefined;
}

/**
 * Opens an encoder: one input of RGB images, and an output of maps [N, C, h, w], token sequences [N, T, D] or vectors
 * [N, D]. A sequence may start with a class token, and DINOv2's registers, before a square grid of patches.
 * @throws DataError when the model is not of this kind; UsageError when it has no such output or takes another size
 */
export async function openOnnxEncoder(options: OnnxEncoderOptions): Promise<Encoder> {
  const { file, normalise = 'imagenet' } = options;
  const model = openOnnxModel(file);
  const port = imagePort(model);
  const side = port.side ?? options.size ?? USUAL_SIDE;
  if (options.size !== undefined && options.size !== side) {
    throw new UsageError(`${file} takes images of ${side} pixels, not of ${options.size}`);
  }
  const output = chooseOutput(model, options.output);
  const batch = port.batch ?? options.batchSize;
  const imageSize = 3 * side * side;
  const shape = port.channels === 'first' ? [batch, 3, side, side] : [batch, side, side, 3];
  if (sizeOf(shape) === 0) throw new DataError(`${file}: takes ${showShape(shape)}, which is no image`);
  if (sizeOf(shape) > MOST_NUMBERS) {
    throw new DataError(`${file}: takes ${showShape(shape)} at once, which is more than can be computed here`);
  }
  const input = new Float32Array(sizeOf(shape));
  const onDevice = activeDevice() && (await lowered(model, shape, output, port.batch === undefined));
  if (onDevice) model.dispose();
  const run = () => {
    const result = onDevice ? onDevice.run(input) : model.run({ shape, data: input }, output);
    if (result.shape[0] === batch) return result;
    throw new DataError(`${file}: '${output}' is ${showShape(result.shape)} for ${batch} images`);
  };
  // Sizes that the file leaves open are known once it has run.
  const grid = tokenGrid(run().shape, port.channels, `${file}: '${output}'`);
  return {
    name: options.name ?? path.basename(file),
    sha256: await onnxHash(file),
    size: side,
    side,
    preprocess: { crop: 'adm', size: side, normalise, output },
    tokens: grid.tokens,
    dim: grid.dim,
    hasCls: grid.prefix > 0,
    encode(crops) {
      const feature = new Float32Array(crops.length * grid.tokens * grid.dim); // [N, T, D]
      const cls = grid.prefix > 0 ? new Float32Array(crops.length * grid.dim) : undefined; // [N, D]
      for (let start = 0; start < crops.length; start += batch) {
        const taken = crops.slice(start, start + batch);
        for (const [row, crop] of taken.entries()) {
          writeImage(crop, normalise, port.channels, input.subarray(row * imageSize, (row + 1) * imageSize));
        }
        const { data } = run();
        for (const row of taken.keys()) copyRow(data, row, grid, start + row, feature, cls);
      }
      return { feature, cls };
    },
    ...(activeDevice() && !onDevice && { engine: model.engine }),
    dispose: () => (onDevice ?? model).dispose(),
  };
}

/**
 * The network on the device that was selected, if it has all of its operators; else null, which is told.
 * @param byRow whether several devices may share the images
 */
async function lowered({ file, inputs }: OnnxModel, shape: readonly number[], output: string, byRow: boolean) {
  const { NotLowered, readGraph, tensorFunction } = await import('../engine/onnx-import/index.js');
  try {
    const compute = tensorFunction(readGraph(file), inputs[0].name, output);
    let size: readonly number[] = [];
    const program = capture(
      (x) => {
        const [y] = compute(x);
        size = y.shape.slice(1);
        return [y];
      },
      [{ shape, dtype: 'float32' }],
      { constants: 'bake', byRow },
    );
    return {
      run(images: Float32Array): FloatTensor {
        const [data] = program.run(images) as Float32Array[];
        return { shape: [data.length / sizeOf(size), ...size], data };
      },
      dispose: () => program.dispose(),
    };
  } catch (error) {
    if (!(error instanceof NotLowered)) throw error;
    const { backend } = engineInfo();
    notice(
      `${file}: ${error.message} has no form for ${backend}; this network is computed by ONNX Runtime on the processor`,
    );
    return null;
  }
}

function copyRow(
  data: Float32Array,
  row: number,
  grid: Grid,
  to: number,
  feature: Float32Array,
  cls: Float32Array | undefined,
): void {
  const { tokens, dim } = grid;
  const values = data.subarray(row * grid.rowSize, (row + 1) * grid.rowSize);
  toTokens(values, grid, feature.subarray(to * tokens * dim, (to + 1) * tokens * dim));
  cls?.set(values.subarray(0, dim), to * dim); // the class token is the first of a prefix
}

/** @throws DataError when the model does not take one batch of square RGB images. */
function imagePort({ file, inputs }: OnnxModel): ImagePort {
  const fail = (): never => {
    const found = inputs.map(({ name, shape }) => `${name} [${shape.map((size) => size ?? '?').join(', ')}]`);
    throw new DataError(
      `${file}: takes ${found.join(', ') || 'nothing'}, not one batch of square RGB images`,
      'Export the image tower alone, with an input of [N, 3, H, W] or [N, H, W, 3].',
    );
  };
  const [input] = inputs;
  if (inputs.length !== 1 || input.shape.length !== 4) return fail();
  const [batch, second, third, last] = input.shape;
  const channels = last === 3 && second !== 3 ? 'last' : 'first';
  const [count, height, width] = channels === 'first' ? [second, third, last] : [last, second, third];
  const isSquare = height === undefined || width === undefined || height === width;
  if ((count !== undefined && count !== 3) || !isSquare) return fail();
  return { channels, batch, side: height ?? width };
}

/** Outputs by their rank, the likeliest features first: maps, sequences, vectors. */
const RANKS = [4, 3, 2];

/** @throws UsageError when there is no such output; DataError when none could be features. */
function chooseOutput({ file, outputs }: OnnxModel, wanted: string | undefined): string {
  const names = outputs.map(({ name }) => name).join(', ');
  if (wanted !== undefined) {
    if (outputs.some(({ name }) => name === wanted)) return wanted;
    throw new UsageError(`${file} has no output '${wanted}'`, `Its outputs: ${names || 'none of floats'}.`);
  }
  const ofRank = (rank: number): Port | undefined => outputs.find(({ shape }) => shape.length === rank);
  const chosen = RANKS.map(ofRank).find((port) => port !== undefined);
  if (chosen) return chosen.name;
  throw new DataError(
    `${file}: none of its outputs is known to be a map, a sequence or a vector`,
    `Name one with --output: ${names || 'it has none of floats'}.`,
  );
}

/** The input of one image, of square size: [3, S, S] or [S, S, 3]. */
function writeImage(image: RgbImage, how: InputNormalisation, channels: 'first' | 'last', out: Float32Array): void {
  const planes = channels === 'first' ? normalised(image, how, out) : normalised(image, how);
  if (channels === 'first') return;
  const pixels = image.width * image.height;
  for (let i = 0; i < out.length; i++) out[i] = planes[(i % 3) * pixels + Math.floor(i / 3)];
}

function normalised(image: RgbImage, how: InputNormalisation, out?: Float32Array): Float32Array {
  if (how === 'signed') return toSignedUnit(image, out);
  if (how === 'unit') return mapChannels(image, () => (value) => value / 255, out);
  return normaliseImage(image, how === 'clip' ? CLIP : IMAGENET, out);
}
