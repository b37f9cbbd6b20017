/** Turns the state dicts of published vision transformers into the names and layouts of models/vit.ts. */
import { DataError } from '../errors.js';
import { concatenated, sizeOf, stackedShape } from '../numbers/typed-array.js';
import type { Weight, Weights } from './parameters.js';
import { type Rule, renamed, reshaped, unwrapped } from './rename.js';

/**
 * Tensors that published files hold beside the encoder: heads and pools, projections, decoders, the mask token, a final
 * norm that is not used, the numbers of positions.
 */
export const isUnusedByViT = (name: string): boolean =>
  /^(mask_token|proj|embeddings\.position_ids)$|\.bias_mask$|^norm\.|^local_cls_norm\.|^(head|fc_norm|pooler|classifier|decoder|predictor|attn_pool)[._]/.test(
    name,
  );

/** The convolution of the patches, in each scheme of names. */
const LANDMARKS = [
  'patch_embed.proj.weight',
  'embeddings.patch_embeddings.projection.weight',
  'embeddings.patch_embedding.weight',
  'embeddings.patch_embeddings.weight',
  'conv1.weight',
];

const RULES: readonly Rule[] = [
  // Hugging Face: Dinov2Model, Dinov2WithRegistersModel
  [/^embeddings\.patch_embeddings\.projection\./, 'patch_embed.proj.'],
  [/^embeddings\.position_embeddings$/, 'pos_embed'],
  [/^embeddings\.(cls_token|mask_token|register_tokens)$/, '$1'],
  [/^encoder\.layers?\.(\d+)\./, 'blocks.$1.'],
  [/\.attention\.attention\.(query|key|value)\./, '.attn.$1.'],
  [/\.attention\.output\.dense\./, '.attn.proj.'],
  [/\.layer_scale([12])\.lambda1$/, '.ls$1.gamma'],
  [/\.mlp\.weights_in\./, '.mlp.w12.'],
  [/\.mlp\.weights_out\./, '.mlp.w3.'],
  [/^layernorm\./, 'norm.'],
  // Hugging Face: ViTModel and kin (DINO, MAE, I-JEPA)
  [/\.layernorm_before\./, '.norm1.'],
  [/\.layernorm_after\./, '.norm2.'],
  [/\.intermediate\.dense\./, '.mlp.fc1.'],
  [/^(blocks\.\d+)\.output\.dense\./, '$1.mlp.fc2.'],
  // Hugging Face: CLIPVisionModel, SiglipVisionModel
  [/^embeddings\.patch_embedding\./, 'patch_embed.proj.'],
  [/^embeddings\.class_embedding$/, 'cls_token'],
  [/^embeddings\.position_embedding\.weight$/, 'pos_embed'],
  [/^pre_layrnorm\./, 'norm_pre.'], // sic
  [/^post_layernorm\./, 'norm.'],
  [/\.self_attn\.out_proj\./, '.attn.proj.'],
  [/\.self_attn\.q_proj\./, '.attn.query.'],
  [/\.self_attn\.k_proj\./, '.attn.key.'],
  [/\.self_attn\.v_proj\./, '.attn.value.'],
  [/\.layer_norm([12])\./, '.norm$1.'],
  // OpenAI's clip, open_clip
  [/^conv1\./, 'patch_embed.proj.'],
  [/^class_embedding$/, 'cls_token'],
  [/^positional_embedding$/, 'pos_embed'],
  [/^ln_pre\./, 'norm_pre.'],
  [/^ln_post\./, 'norm.'],
  [/^transformer\.resblocks\.(\d+)\./, 'blocks.$1.'],
  [/\.ln_([12])\./, '.norm$1.'],
  [/\.ls_([12])\.gamma$/, '.ls$1.gamma'],
  [/\.attn\.in_proj_(weight|bias)$/, '.attn.qkv.$1'],
  [/\.attn\.out_proj\./, '.attn.proj.'],
  [/\.mlp\.c_fc\./, '.mlp.fc1.'],
  [/\.mlp\.c_proj\./, '.mlp.fc2.'],
  // timm
  [/^reg_token$/, 'register_tokens'],
  [/\.gamma_([12])$/, '.ls$1.gamma'],
  [/\.mlp\.fc1_g\./, '.mlp.gate.'],
  [/\.mlp\.fc1_x\./, '.mlp.up.'],
  // DINOv3, and Hugging Face: DINOv3ViTModel
  [/^storage_tokens$/, 'register_tokens'],
  [/\.mlp\.w1\./, '.mlp.gate.'],
  [/\.mlp\.w2\./, '.mlp.up.'],
  [/^embeddings\.patch_embeddings\.(weight|bias)$/, 'patch_embed.proj.$1'],
  [/^(model\.)?layer\.(\d+)\./, 'blocks.$2.'],
  [/\.attention\.q_proj\./, '.attn.query.'],
  [/\.attention\.k_proj\./, '.attn.key.'],
  [/\.attention\.v_proj\./, '.attn.value.'],
  [/\.attention\.o_proj\./, '.attn.proj.'],
  [/\.mlp\.gate_proj\./, '.mlp.gate.'],
  [/\.mlp\.up_proj\./, '.mlp.up.'],
  [/\.mlp\.down_proj\./, '.mlp.down.'],
  // The published ViT-L of MoCo-v3 has four names in which the number of the block was appended.
  [/^blocks\.13\.norm13\./, 'blocks.13.norm1.'],
  [/^blocks\.13\.mlp\.fc13\./, 'blocks.13.mlp.fc1.'],
  [/^blocks\.14\.norm14\./, 'blocks.14.norm2.'],
  [/^blocks\.14\.mlp\.fc14\./, 'blocks.14.mlp.fc2.'],
];

/** Stacks tensors along their first axis. */
const stacked = (parts: readonly Weight[]): Weight => ({
  shape: stackedShape(parts.map(({ shape }) => shape)),
  get data() {
    return concatenated(
      parts.map(({ data }) => data),
      Float32Array,
    );
  },
});

const zerosLike = ({ shape }: Weight): Weight => ({ shape, data: new Float32Array(sizeOf(shape)) });

/** Joins separate query, key and value projections into one. */
function joinQkv(weights: Weights): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const [, block, part, kind] = /^(blocks\.\d+\.attn)\.(query|key|value)\.(weight|bias)$/.exec(name) ?? [];
    if (!part) result.set(name, weight);
    if (part !== 'query') continue;
    const parts = ['query', 'key', 'value'].map((each) => {
      const found = weights.get(`${block}.${each}.${kind}`);
      if (!found && kind === 'bias' && each === 'key') return zerosLike(weight); // DINOv3 adds nothing to keys
      if (!found) throw new DataError(`${block}.${each}.${kind} is missing`);
      return found;
    });
    result.set(`${block}.qkv.${kind}`, stacked(parts));
  }
  return result;
}

/**
 * Joins separate biases of queries and values (timm), and applies masks to the joint one (DINOv3): keys have no bias.
 */
function qkvBiases(weights: Weights): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const [, attention, part] = /^(blocks\.\d+\.attn)\.([qv]_bias)$/.exec(name) ?? [];
    const mask = weights.get(`${name}_mask`);
    const values = part === 'q_bias' ? weights.get(`${attention}.v_bias`) : undefined;
    if (values) result.set(`${attention}.qkv.bias`, stacked([weight, zerosLike(weight), values]));
    else if (mask) result.set(name, masked(weight, mask));
    else result.set(name, weight);
    if (part === 'v_bias' && weights.has(`${attention}.q_bias`)) result.delete(name);
  }
  return result;
}

const masked = (weight: Weight, mask: Weight): Weight => ({
  shape: weight.shape,
  get data() {
    const kept = mask.data;
    return weight.data.map((value, i) => (kept[i] === 0 ? 0 : value));
  },
});

/** Joins the two halves of a gated feed-forward into one map (DINOv3); a plain feed-forward has no gate. */
function joinGates(weights: Weights): Weights {
  const isGated = [...weights.keys()].some((name) => name.includes('.mlp.gate.'));
  const [up, down] = isGated ? ['up', 'w3'] : ['fc1', 'fc2'];
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const [, block, part, kind] = /^(blocks\.\d+\.mlp)\.(gate|up|down|fc2)\.(weight|bias)$/.exec(name) ?? [];
    if (part === undefined || (part === 'fc2' && !isGated)) result.set(name, weight);
    else if (part === 'down' || part === 'fc2') result.set(`${block}.${down}.${kind}`, weight);
    else if (part === 'up' && !isGated) result.set(`${block}.${up}.${kind}`, weight);
    else if (part === 'gate') {
      const other = weights.get(`${block}.up.${kind}`);
      if (!other) throw new DataError(`${block}.up.${kind} is missing`);
      result.set(`${block}.w12.${kind}`, stacked([weight, other]));
    }
  }
  return result;
}

/** The width of all of DINOv3's heads, to compute the periods that files of Hugging Face and timm leave out. */
const HEAD_DIM = 64;

/** DINOv3's weights with the periods by which queries and keys turn: powers of 100, as its code makes them. */
function withPeriods(weights: Weights): Weights {
  const rotary = !weights.has('pos_embed') && weights.has('register_tokens') && weights.has('blocks.0.ls1.gamma');
  if (!rotary || weights.has('rope_embed.periods')) return weights;
  const count = HEAD_DIM / 4;
  const data = Float32Array.from({ length: count }, (_, i) => 100 ** (i / count));
  return new Map([...weights, ['rope_embed.periods', { shape: [count], data }]]);
}

/** timm calls the two layers of the gated feed-forward fc1 and fc2, as it does the plain one's: the widths tell. */
function nameGates(weights: Weights): Weights {
  const outer = weights.get('blocks.0.mlp.fc1.weight')?.shape[0];
  const inner = weights.get('blocks.0.mlp.fc2.weight')?.shape[1];
  if (!outer || !inner || outer !== 2 * inner) return weights;
  return renamed(weights, [
    [/\.mlp\.fc1\./, '.mlp.w12.'],
    [/\.mlp\.fc2\./, '.mlp.w3.'],
  ]);
}

/** CLIP's class token [D] and positions [T, D] as [1, 1, D] and [1, T, D]. */
function withBatchAxis(weights: Weights): Weights {
  const result: Weights = new Map(weights);
  for (const name of ['cls_token', 'pos_embed']) {
    const weight = weights.get(name);
    if (!weight || weight.shape.length > 2) continue;
    const [first, second] = weight.shape;
    result.set(name, reshaped(weight, second === undefined ? [1, 1, first] : [1, first, second]));
  }
  return result;
}

/**
 * A vision transformer's state dict, of whatever origin, under DINOv2's hub names with one qkv projection.
 *
 * @throws DataError if a block lacks one of query, key and value.
 */
export const toHubNames = (weights: Weights): Weights =>
  withPeriods(withBatchAxis(nameGates(joinGates(qkvBiases(joinQkv(renamed(unwrapped(weights, LANDMARKS), RULES)))))));
