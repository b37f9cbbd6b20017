/**
 * The text towers of CLIP (arXiv 2103.00020), frozen: from token numbers to a vector for each token, for networks that
 * are conditioned on text. Parameters carry the names of Hugging Face's CLIPTextModel; those of OpenAI's code are
 * understood.
 */
import { tf } from '../engine/index.js';
import { DataError } from '../errors.js';
import { embedding, type GeluForm, softmax } from '../nn/functional.js';
import { dense, mlp, norm, type Parameters, parameter } from '../nn/layers.js';
import { countLayers, type Entry, linearShapes, normShapes, type Shapes, type Weights } from './parameters.js';
import { type Rule, renamed, rowsOf, unwrapped } from './rename.js';

// ---------------------------------------------------------------------------------------------------------- sizes

export interface ClipTextConfig {
  width: number;
  depth: number;
  heads: number;
  /** Width of the feed-forward's hidden layer. */
  inner: number;
  vocabulary: number;
  /** Tokens of a text, with its start and end. */
  length: number;
  activation: GeluForm;
}

const HEAD_DIM = 64;
const EPSILON = 1e-5;

/**
 * The architecture that the shapes of a state dict tell; heads are 64 wide.
 * @param activation OpenAI's is `quick`, that of LAION's models `erf`
 * @throws DataError if the names are not those of such a network
 */
export function inferClipTextConfig(shapes: Shapes, source: string, activation: GeluForm): ClipTextConfig {
  const tokens = shapes.get('embeddings.token_embedding.weight')?.shape;
  const positions = shapes.get('embeddings.position_embedding.weight')?.shape;
  const inner = shapes.get('encoder.layers.0.mlp.fc1.weight')?.shape[0];
  if (!tokens || !positions || !inner) {
    throw new DataError(
      `${source}: not the weights of a CLIP text tower`,
      'Expected are the names of CLIP (of the original code or Hugging Face): token_embedding, position_embedding ...',
    );
  }
  const [vocabulary, width] = tokens;
  const depth = countLayers(shapes, 'encoder.layers.', 'self_attn.q_proj.weight');
  return { width, depth, heads: width / HEAD_DIM, inner, vocabulary, length: positions[0], activation };
}

// -------------------------------------------------------------------------------- the parts, each with its parameters

function layerShapes(name: string, { width, inner }: ClipTextConfig): Entry[] {
  const projections = ['q_proj', 'k_proj', 'v_proj', 'out_proj'];
  return [
    ...normShapes(`${name}.layer_norm1`, width),
    ...projections.flatMap((each) => linearShapes(`${name}.self_attn.${each}`, width, width)),
    ...normShapes(`${name}.layer_norm2`, width),
    ...linearShapes(`${name}.mlp.fc1`, inner, width),
    ...linearShapes(`${name}.mlp.fc2`, width, inner),
  ];
}

/** The mask [N, N] that is added to the scores, so that a token attends only to itself and to earlier ones. */
function causalMask(length: number): tf.Tensor {
  const mask = new Float32Array(length * length);
  for (let row = 0; row < length; row++) mask.fill(-1e9, row * length + row + 1, (row + 1) * length);
  return tf.tensor(mask, [length, length]);
}

/** softmax(q k^T / sqrt(d) + mask) v of each head: `x` [B, N, D] to [B, N, D]. */
function causalAttention(p: Parameters, name: string, x: tf.Tensor, heads: number): tf.Tensor {
  const [batch, length, width] = x.shape;
  const perHead = (part: string): tf.Tensor =>
    tf.transpose(tf.reshape(dense(p, `${name}.${part}`, x), [batch, length, heads, width / heads]), [0, 2, 1, 3]);
  const [q, k, v] = ['q_proj', 'k_proj', 'v_proj'].map(perHead); // [B, H, N, d]
  const scores = tf.mul(tf.matMul(q, k, false, true), (width / heads) ** -0.5); // [B, H, N, N]
  const weights = softmax(tf.add(scores, causalMask(length))); // [B, H, N, N]
  const heard = tf.transpose(tf.matMul(weights, v), [0, 2, 1, 3]); // [B, N, H, d]
  return dense(p, `${name}.out_proj`, tf.reshape(heard, [batch, length, width]));
}

function layer(p: Parameters, name: string, { heads, activation }: ClipTextConfig, x: tf.Tensor): tf.Tensor {
  const attended = causalAttention(p, `${name}.self_attn`, norm(p, `${name}.layer_norm1`, x, EPSILON), heads);
  const heard = tf.add(x, attended); // [B, N, D]
  return tf.add(heard, mlp(p, `${name}.mlp`, norm(p, `${name}.layer_norm2`, heard, EPSILON), activation));
}

// -------------------------------------------------------------------------------------------------------- the network

/** Names and shapes of all parameters. */
export function clipTextShapes(config: ClipTextConfig): Shapes {
  const { vocabulary, width, length, depth } = config;
  return new Map([
    ['embeddings.token_embedding.weight', { shape: [vocabulary, width] }],
    ['embeddings.position_embedding.weight', { shape: [length, width] }],
    ...Array.from({ length: depth }, (_, i) => layerShapes(`encoder.layers.${i}`, config)).flat(),
    ...normShapes('final_layer_norm', width),
  ]);
}

/**
 * One vector for each token, after the final norm: what Stable Diffusion and REPA's MM-DiT take as context. Checked
 * against transformers' CLIPTextModel (`last_hidden_state`).
 * @param tokens [B, N] int32
 * @returns [B, N, D]
 */
export function clipText(p: Parameters, config: ClipTextConfig, tokens: tf.Tensor): tf.Tensor {
  const [batch, length] = tokens.shape;
  const rows = embedding(parameter(p, 'embeddings.token_embedding.weight'), tf.reshape(tokens, [batch * length]));
  const positions = parameter(p, 'embeddings.position_embedding.weight'); // [N, D]
  let x = tf.add(tf.reshape(rows, [batch, length, config.width]), positions); // [B, N, D]
  for (let i = 0; i < config.depth; i++) x = layer(p, `encoder.layers.${i}`, config, x);
  return norm(p, 'final_layer_norm', x, EPSILON);
}

// ---------------------------------------------------------------------------------------------------- names elsewhere

/**
 * Tensors that files of CLIP hold besides the text tower: the projection of its output, position numbers, the other
 * tower.
 */
export const isUnusedByClipText = (name: string): boolean =>
  /^(text_projection|logit_scale|logit_bias|embeddings\.position_ids)|^visual\.|^(vision_model|visual_projection)\./.test(
    name,
  );

const LANDMARKS = ['embeddings.token_embedding.weight', 'token_embedding.weight'];

const RULES: readonly Rule[] = [
  // OpenAI's clip, open_clip
  [/^token_embedding\./, 'embeddings.token_embedding.'],
  [/^positional_embedding$/, 'embeddings.position_embedding.weight'],
  [/^transformer\.resblocks\.(\d+)\./, 'encoder.layers.$1.'],
  [/\.ln_([12])\./, '.layer_norm$1.'],
  [/^ln_final\./, 'final_layer_norm.'],
  [/\.attn\.out_proj\./, '.self_attn.out_proj.'],
  [/\.mlp\.c_fc\./, '.mlp.fc1.'],
  [/\.mlp\.c_proj\./, '.mlp.fc2.'],
];

/** A CLIP state dict, of whatever origin, under the names of Hugging Face's text tower. */
export function toClipTextNames(weights: Weights): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of renamed(unwrapped(weights, LANDMARKS), RULES)) {
    const [, layerName, kind] = /^(.*)\.attn\.in_proj_(weight|bias)$/.exec(name) ?? [];
    if (layerName === undefined) {
      result.set(name, weight);
      continue;
    }
    const width = weight.shape[0] / 3; // OpenAI's code keeps the three projections in one tensor
    for (const [part, projection] of ['q_proj', 'k_proj', 'v_proj'].entries()) {
      result.set(`${layerName}.self_attn.${projection}.${kind}`, rowsOf(weight, part * width, (part + 1) * width));
    }
  }
  return result;
}
