/** The architecture of a SiT or DiT as its state dict tells it, and older names of its tensors. */
import { contextBlockOf, WIDE_HEAD } from './design.js';
import {
  type Architecture,
  affineNorm,
  alignDepthOf,
  checkConfig,
  gatedUnits,
  headsOf,
  type TransformerConfig,
} from './dit-sizes.js';
import { countLayers, requiredShape, type Shapes } from './parameters.js';
import { unwrapped } from './rename.js';

const KIND = 'a SiT or DiT';

/** The ratio that gives `units` units: a whole number if there is one. */
function gatedRatio(units: number, hiddenSize: number): number {
  const whole = Math.round((1.5 * units) / hiddenSize);
  return gatedUnits(hiddenSize, whole) === units ? whole : Math.ceil(1.5 * units) / hiddenSize;
}

/**
 * The architecture that a state dict of a DiT or SiT holds. What the shapes do not tell (heads, except with qk-norm;
 * rotary positions; the aligned block) is that of the published model of this width, or `known`'s. A SiT that predicts
 * twice its input's channels is taken for the original, whose time is reversed. A label table of as many rows as
 * classes are known has no null class.
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
  const shapeOf = (name: string): readonly number[] => requiredShape(shapes, name, source, KIND);
  const design = inferDesign(shapes, source, known);
  const embedder = `${design.head ? 's' : 'x'}_embedder.${design.bottleneck ? 'proj1' : 'proj'}`;
  const [, inChannels, patchSize] = shapeOf(`${embedder}.weight`);
  // Without stored positions, nothing tells how many patches there are: those of the published models of 256 pixels.
  const side = known.inputSize ?? (design.conditionTokens ? 16 : 32);
  const patches = (side / patchSize) ** 2;
  const [, tokens] = design.positions ? [1, prefix + patches] : shapeOf('pos_embed');
  const [, hiddenSize] = shapeOf('y_embedder.embedding_table.weight');
  const headDim = shapes.get('blocks.0.attn.q_norm.weight')?.shape[0];
  const gated = shapes.has('blocks.0.mlp.w3.weight');
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight') - (design.head?.depth ?? 0);
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
    norm: normOf(shapes, known),
    feedForward: gated ? 'swiglu' : 'gelu',
    rotary:
      known.rotary ??
      (design.context !== undefined || design.timeEmbedding !== undefined || design.positions !== undefined),
    alignDepth: known.alignDepth ?? alignDepthOf(depth),
    reversedTime:
      family === 'SiT' && (known.reversedTime ?? (outChannels === 2 * inChannels || design.context !== undefined)),
    ...design,
  });
}

/**
 * Whether a tensor is a table of cosines or sines, which the codes of RAE and RAEv2 store: they follow from the sizes.
 */
const isBuffer = (name: string): boolean => /(^|\.)(enc_|dec_)?(feat_)?rope(_incontext)?\.freqs_(cos|sin)$/.test(name);

/** Whether a tensor is PixelREPA's mask without its adapter, which its checkpoints store elsewhere. */
const isLoneMask = (names: ReadonlyMap<string, unknown>, name: string): boolean =>
  name === 'mask_token' && names.has('in_context_posemb') && !names.has('masked_transformer_adapter.in_context_posemb');

type Design = Pick<
  TransformerConfig,
  | 'qkNormKind'
  | 'positions'
  | 'valueResidual'
  | 'prediction'
  | 'bottleneck'
  | 'context'
  | 'conditionTokens'
  | 'timeEmbedding'
  | 'head'
  | 'lead'
>;

/** The lead of the models of SFD. */
const PUBLISHED_LEAD = { by: 0.3, channels: 16 };

/** The kind of norms; those without parameters leave no trace in the weights. */
const normOf = (shapes: Shapes, known: Partial<TransformerConfig>): TransformerConfig['norm'] =>
  shapes.has('blocks.0.norm1.weight') ? 'rms' : (known.norm ?? 'layer');

/** The parts that only some networks have, as the names of a state dict tell. */
function inferDesign(shapes: Shapes, source: string, known: Partial<TransformerConfig>): Design {
  const depth = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  const bottleneck = shapes.get('x_embedder.proj1.weight')?.shape[0];
  const tokens = shapes.get('in_context_posemb')?.shape[1];
  const conditionTokens = inferConditionTokens(shapes);
  const published = (tokens !== undefined && bottleneck !== undefined) || conditionTokens !== undefined; // JiT, RAEv2
  const predictsData = known.prediction === 'data' || published;
  const qkNormKind = shapes.has('blocks.0.attn.q_norm.bias') ? 'layer' : 'rms';
  const hasOtherNorm =
    shapes.has('blocks.0.attn.q_norm.weight') && qkNormKind !== affineNorm({ norm: normOf(shapes, known) });
  return {
    ...(hasOtherNorm && { qkNormKind }),
    ...(!shapes.has('pos_embed') && shapes.has('x_embedder.proj.weight') && { positions: 'none' }),
    ...(shapes.has('blocks.1.attn.v1_lambda') && { valueResidual: true }),
    ...(predictsData && { prediction: 'data' }),
    ...(bottleneck !== undefined && { bottleneck }),
    ...(tokens !== undefined && { context: known.context ?? { tokens, block: contextBlockOf(depth) } }),
    ...(conditionTokens && { conditionTokens }),
    ...(shapes.has('t_embedder_sem.mlp.0.weight') && { lead: known.lead ?? PUBLISHED_LEAD }),
    ...(shapes.has('t_embedder.W') && { timeEmbedding: 'fourier' }),
    ...(shapes.has('s_embedder.proj.weight') && { head: known.head ?? inferHead(depth, shapes, source) }),
  };
}

function inferConditionTokens(shapes: Shapes): TransformerConfig['conditionTokens'] {
  const [time, label] = ['t', 'y'].map((name) => shapes.get(`${name}_embedder.learnable_tokens`)?.shape[0]);
  return time === undefined || label === undefined ? undefined : { time, label };
}

/** How many blocks stand before those of the wide head, if there is one. @throws DataError as inferTransformer does */
export function trunkDepth(shapes: Shapes, source: string): number {
  const blocks = countLayers(shapes, 'blocks.', 'attn.qkv.weight');
  return shapes.has('s_embedder.proj.weight') ? blocks - inferHead(blocks, shapes, source).depth : blocks;
}

/** The wide head of a state dict of `blocks` blocks in all. */
function inferHead(blocks: number, shapes: Shapes, source: string): NonNullable<TransformerConfig['head']> {
  const shapeOf = (name: string): readonly number[] => requiredShape(shapes, name, source, KIND);
  const [[narrow], [hiddenSize]] = ['s', 'x'].map((name) => shapeOf(`${name}_embedder.proj.weight`));
  const widths = Array.from({ length: blocks }, (_, i) => shapeOf(`blocks.${i}.attn.qkv.weight`)[1]);
  const depth = narrow === hiddenSize ? WIDE_HEAD.depth : widths.filter((width) => width === hiddenSize).length;
  const headDim = shapes.get(`blocks.${blocks - 1}.attn.q_norm.weight`)?.shape[0];
  return { depth, hiddenSize, numHeads: headDim ? hiddenSize / headDim : headsOf(hiddenSize) };
}

/** The parameter by which the weights of such a network are found among others. */
export const LANDMARK = 'final_layer.linear.weight';

/**
 * A state dict of SiT or DiT under today's names. Checkpoints from before REPA's release split the blocks in two lists:
 * `decoder_blocks.i` follows the last of `blocks`.
 */
export function toOfficialNames<T>(weights: ReadonlyMap<string, T>): Map<string, T> {
  const own = unwrapped(weights, [LANDMARK]);
  const blocks = [...own.keys()].map((name) => Number(/^blocks\.(\d+)\./.exec(name)?.[1] ?? -1));
  const first = blocks.reduce((highest, number) => Math.max(highest, number), -1) + 1;
  return new Map(
    [...own]
      .filter(([name]) => !isBuffer(name) && !isLoneMask(own, name))
      .map(([name, weight]) => [
        name
          .replace(/^decoder_blocks\.(\d+)\./, (_, number) => `blocks.${first + Number(number)}.`)
          .replace(/^(projectors\.\d+)\.projection_layer\.(\d+)\./, '$1.$2.'), // perceptrons of iREPA's code
        weight,
      ]),
  );
}
