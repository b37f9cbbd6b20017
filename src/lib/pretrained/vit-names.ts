/** Names of vision transformers: Hugging Face's, timm's, and those of CLIP's code, into those of facebookresearch/dinov2. */
import { DataError } from '../errors.js';
import type { Weight, Weights } from '../models/parameters.js';
import { type Rule, renamed, reshaped, unwrapped } from '../models/rename.js';
import { concatenated } from '../numbers/typed-array.js';

/** The convolution of the patches, in each scheme of names. */
const LANDMARKS = [
  'patch_embed.proj.weight',
  'embeddings.patch_embeddings.projection.weight',
  'embeddings.patch_embedding.weight',
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
  // The published ViT-L of MoCo-v3 has four names in which the number of the block was appended.
  [/^blocks\.13\.norm13\./, 'blocks.13.norm1.'],
  [/^blocks\.13\.mlp\.fc13\./, 'blocks.13.mlp.fc1.'],
  [/^blocks\.14\.norm14\./, 'blocks.14.norm2.'],
  [/^blocks\.14\.mlp\.fc14\./, 'blocks.14.mlp.fc2.'],
];

/** Stacks tensors along their first axis. */
function stacked(parts: readonly Weight[]): Weight {
  const rows = parts.reduce((total, part) => total + part.shape[0], 0);
  return {
    shape: [rows, ...parts[0].shape.slice(1)],
    get data() {
      return concatenated(
        parts.map(({ data }) => data),
        Float32Array,
      );
    },
  };
}

/** Joins separate query, key and value projections into one. */
function joinQkv(weights: Weights): Weights {
  const result: Weights = new Map();
  for (const [name, weight] of weights) {
    const [, block, part, kind] = /^(blocks\.\d+\.attn)\.(query|key|value)\.(weight|bias)$/.exec(name) ?? [];
    if (!part) result.set(name, weight);
    if (part !== 'query') continue;
    const parts = ['query', 'key', 'value'].map((each) => {
      const found = weights.get(`${block}.${each}.${kind}`);
      if (!found) throw new DataError(`${block}.${each}.${kind} is missing`);
      return found;
    });
    result.set(`${block}.qkv.${kind}`, stacked(parts));
  }
  return result;
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
  withBatchAxis(nameGates(joinQkv(renamed(unwrapped(weights, LANDMARKS), RULES))));
