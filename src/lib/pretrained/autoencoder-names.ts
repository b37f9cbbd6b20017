/** Names of latent diffusion's autoencoder: CompVis' and diffusers' older ones into those of diffusers today. */
import type { Weights } from '../models/parameters.js';
import { type Rule, renamed, reshaped, unwrapped } from '../models/rename.js';

const LANDMARKS = ['encoder.conv_in.weight'];

/** The attention of diffusers before 0.17, in which the published SD-VAE files are written. */
const OLD_ATTENTION: readonly Rule[] = [
  [/(attentions\.0)\.query\./, '$1.to_q.'],
  [/(attentions\.0)\.key\./, '$1.to_k.'],
  [/(attentions\.0)\.value\./, '$1.to_v.'],
  [/(attentions\.0)\.proj_attn\./, '$1.to_out.0.'],
];

const COMPVIS: readonly Rule[] = [
  [/^encoder\.down\.(\d+)\.block\.(\d+)\./, 'encoder.down_blocks.$1.resnets.$2.'],
  [/^encoder\.down\.(\d+)\.downsample\./, 'encoder.down_blocks.$1.downsamplers.0.'],
  [/^decoder\.up\.(\d+)\.block\.(\d+)\./, 'decoder.up_blocks.$1.resnets.$2.'],
  [/^decoder\.up\.(\d+)\.upsample\./, 'decoder.up_blocks.$1.upsamplers.0.'],
  [/\.nin_shortcut\./, '.conv_shortcut.'],
  [/\.mid\.block_1\./, '.mid_block.resnets.0.'],
  [/\.mid\.block_2\./, '.mid_block.resnets.1.'],
  [/\.mid\.attn_1\.norm\./, '.mid_block.attentions.0.group_norm.'],
  [/\.mid\.attn_1\.([qkv])\./, '.mid_block.attentions.0.to_$1.'],
  [/\.mid\.attn_1\.proj_out\./, '.mid_block.attentions.0.to_out.0.'],
  [/\.norm_out\./, '.conv_norm_out.'],
];

/** CompVis counts the decoder's levels from the finest, diffusers in the order of the computation. */
function reverseLevels(weights: Weights): Weights {
  const pattern = /^decoder\.up_blocks\.(\d+)\./;
  const levels = [...weights.keys()].map((name) => Number(pattern.exec(name)?.[1] ?? -1));
  const last = Math.max(...levels);
  return new Map(
    [...weights].map(([name, weight]) => [
      name.replace(pattern, (_, level) => `decoder.up_blocks.${last - Number(level)}.`),
      weight,
    ]),
  );
}

/** CompVis keeps the projections of attention as 1x1 convolutions [out, in, 1, 1]. */
function flattenProjections(weights: Weights): Weights {
  const isProjection = (name: string) => /attentions\.0\.to_\w+(\.0)?\.weight$/.test(name);
  return new Map(
    [...weights].map(([name, weight]) => [
      name,
      isProjection(name) ? reshaped(weight, weight.shape.slice(0, 2)) : weight,
    ]),
  );
}

/** The state dict of an AutoencoderKL, of whatever origin, under the names of diffusers today. */
export function toDiffusersNames(weights: Weights): Weights {
  const own = unwrapped(weights, LANDMARKS);
  if (!own.has('encoder.mid.attn_1.q.weight')) return renamed(own, OLD_ATTENTION);
  return reverseLevels(flattenProjections(renamed(own, COMPVIS)));
}
