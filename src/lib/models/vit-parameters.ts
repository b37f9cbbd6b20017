/** The parameters of a vision transformer: which there are, and how its positions are fitted to the size of images. */
import { UsageError } from '../errors.js';
import type { PlaneSize } from '../images/resample.js';
import { type PositionResampling, resamplePositions } from '../nn/positions.js';
import type { Shapes, Weights } from './parameters.js';
import type { ViTConfig } from './vit.js';

type Entry = [string, { shape: readonly number[] }];

const linear = (name: string, outputs: number, inputs: number, bias = true): Entry[] => [
  [`${name}.weight`, { shape: [outputs, inputs] }],
  ...(bias ? vector(`${name}.bias`, outputs) : []),
];

const vector = (name: string, dim: number): Entry[] => [[name, { shape: [dim] }]];

const norm = (name: string, dim: number): Entry[] => [...vector(`${name}.weight`, dim), ...vector(`${name}.bias`, dim)];

function blockShapes(name: string, { width, inner, feedForward, layerScale, qkvBias }: ViTConfig): Entry[] {
  return [
    ...norm(`${name}.norm1`, width),
    ...linear(`${name}.attn.qkv`, 3 * width, width, qkvBias),
    ...linear(`${name}.attn.proj`, width, width),
    ...norm(`${name}.norm2`, width),
    ...linear(
      `${name}.mlp.${feedForward === 'swiglu' ? 'w12' : 'fc1'}`,
      feedForward === 'swiglu' ? 2 * inner : inner,
      width,
    ),
    ...linear(`${name}.mlp.${feedForward === 'swiglu' ? 'w3' : 'fc2'}`, width, inner),
    ...(layerScale ? [...vector(`${name}.ls1.gamma`, width), ...vector(`${name}.ls2.gamma`, width)] : []),
  ];
}

/** Names and shapes of all parameters that the forward pass uses; images have 3 channels. */
export function vitShapes(config: ViTConfig): Shapes {
  const { width, depth, patchSize, grid, classToken, classPosition, registers, preNorm, finalNorm } = config;
  const token = (name: string, count: number): Entry => [name, { shape: [1, count, width] }];
  return new Map([
    ...(classToken ? [token('cls_token', 1)] : []),
    ...(registers > 0 ? [token('register_tokens', registers)] : []),
    token('pos_embed', Number(classPosition) + grid.height * grid.width),
    ['patch_embed.proj.weight', { shape: [width, 3, patchSize, patchSize] }],
    ...(config.patchBias ? vector('patch_embed.proj.bias', width) : []),
    ...(preNorm ? norm('norm_pre', width) : []),
    ...Array.from({ length: depth }, (_, i) => blockShapes(`blocks.${i}`, config)).flat(),
    ...(finalNorm ? norm('norm', width) : []),
  ]);
}

/**
 * Tensors that published files hold beside the encoder: heads and pools, projections, decoders, the mask token, a final
 * norm that is not used, the numbers of positions.
 */
export const isUnusedByViT = (name: string): boolean =>
  /^(mask_token|proj|embeddings\.position_ids)$|^norm\.|^(head|fc_norm|pooler|classifier|decoder|predictor|attn_pool)[._]/.test(
    name,
  );

/**
 * The weights and architecture for images of another size: position embeddings resampled to the grid of patches of
 * `size` pixels. DINOv2's models with registers resample as timm does, by their published settings.
 *
 * @throws UsageError if patches do not tile the images.
 */
export function fitPositions(
  weights: Weights,
  config: ViTConfig,
  size: PlaneSize,
  variant: PositionResampling,
): { weights: Weights; config: ViTConfig } {
  const { patchSize, width } = config;
  const grid = { height: size.height / patchSize, width: size.width / patchSize };
  if (!Number.isInteger(grid.height) || !Number.isInteger(grid.width)) {
    throw new UsageError(`patches of ${patchSize} pixels do not tile images of ${size.height} x ${size.width}`);
  }
  if (grid.height === config.grid.height && grid.width === config.grid.width) return { weights, config };
  const { data } = weights.get('pos_embed')!;
  const prefix = config.classPosition ? width : 0;
  const method = config.registers > 0 ? 'timm' : variant;
  const patches = resamplePositions(data.subarray(prefix), config.grid, grid, method);
  const positions = new Float32Array(prefix + patches.length);
  positions.set(data.subarray(0, prefix));
  positions.set(patches, prefix);
  const fitted: Weights = new Map(weights);
  fitted.set('pos_embed', { shape: [1, positions.length / width, width], data: positions });
  return { weights: fitted, config: { ...config, grid } };
}
