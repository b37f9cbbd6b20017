/** SiT and DiT by their weights: the architecture that a state dict tells, and older names of its tensors. */
import { DataError } from '../errors.js';
import { type Architecture, alignDepthOf, checkConfig, headsOf, type TransformerConfig } from './dit-sizes.js';
import { countLayers, type Shapes } from './parameters.js';
import { unwrapped } from './rename.js';

/**
 * The ratio of a gated perceptron's width: its hidden layer has 2/3 of the units that the ratio says, rounded down.
 */
const gatedRatio = (inner: number, hiddenSize: number): number => Math.ceil(1.5 * inner) / hiddenSize;

/**
 * The architecture that a state dict of a DiT or SiT holds. What the shapes do not tell (heads, except with qk-norm; rotary
 * positions; the aligned block) is that of the published model of this width, or `known`'s. A SiT that predicts twice its
 * input's channels is taken for the original, whose time is reversed. A label table of as many rows as classes are known has
 * no null class.
 *
 * @param prefix how many tokens stand before the patches
 * @throws DataError if the names are not those of such a network.
 */
export function inferTransformer(
  family: Architecture,
  shapes: Shapes,
  source: string,
  known: Partial<TransformerConfig> = {},
  prefix = 0,
): TransformerConfig {
  const shapeOf = (name: string): readonly number[] => {
    const entry = shapes.get(name);
    if (entry) return entry.shape;
    throw new DataError(`${source}: not the weights of a SiT or DiT: ${name} is missing`);
  };
  const [hiddenSize, inChannels, patchSize] = shapeOf('x_embedder.proj.weight');
  const [, tokens] = shapeOf('pos_embed');
  const headDim = shapes.get('blocks.0.attn.q_norm.weight')?.shape[0];
  const gated = shapes.has('blocks.0.mlp.w3.weight');
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  const outChannels = shapeOf('final_layer.linear.bias')[0] / patchSize ** 2;
  const [labelRows] = shapeOf('y_embedder.embedding_table.weight');
  const nullClass = known.nullClass ?? known.numClasses !== labelRows;
  return checkConfig({
    inputSize: Math.sqrt(tokens - prefix) * patchSize,
    patchSize,
    inChannels,
    outChannels,
    hiddenSize,
    depth,
    numHeads: known.numHeads ?? (headDim ? hiddenSize / headDim : headsOf(hiddenSize)),
    mlpRatio: gated
      ? gatedRatio(shapeOf('blocks.0.mlp.w3.weight')[1], hiddenSize)
      : shapeOf('blocks.0.mlp.fc1.weight')[0] / hiddenSize,
    numClasses: nullClass ? labelRows - 1 : labelRows,
    nullClass,
    qkNorm: headDim !== undefined,
    norm: shapes.has('blocks.0.norm1.weight') ? 'rms' : 'layer',
    feedForward: gated ? 'swiglu' : 'gelu',
    rotary: known.rotary ?? false,
    alignDepth: known.alignDepth ?? alignDepthOf(depth),
    reversedTime: family === 'SiT' && (known.reversedTime ?? outChannels === 2 * inChannels),
  });
}

/** The parameter by which the weights of such a network are found among others. */
export const LANDMARK = 'x_embedder.proj.weight';

/**
 * A state dict of SiT or DiT under today's names. Checkpoints from before REPA's release split the blocks in two lists:
 * `decoder_blocks.i` follows the last of `blocks`.
 */
export function toOfficialNames<T>(weights: ReadonlyMap<string, T>): Map<string, T> {
  const own = unwrapped(weights, [LANDMARK]);
  const blocks = [...own.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1));
  const first = blocks.reduce((highest, number) => Math.max(highest, number), -1) + 1;
  return new Map(
    [...own].map(([name, weight]) => [
      name.replace(/^decoder_blocks\.(\d+)\./, (_, number) => `blocks.${first + Number(number)}.`),
      weight,
    ]),
  );
}
