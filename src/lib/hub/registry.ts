/** Where published weights are, by the short names that `repa pull` and every `--weights`-less option take. */
import type { HubFile } from './hub-cache.js';

/** A file on the web. */
export interface WebFile {
  url: string;
  /** Start of its SHA-256, where its publisher tells it. */
  sha256?: string;
}

export interface PublishedWeights {
  source: HubFile | WebFile;
  /** For a diffusion transformer, the model that its tensors do not tell. */
  model?: string;
}

const META = 'https://dl.fbaipublicfiles.com';
/** Sizes of DINOv3 by their names in timm. */
const DINOV3 = { s: 'small', splus: 'small_plus', b: 'base', l: 'large', hplus: 'huge_plus' };
const SIZES = ['s', 'b', 'l', 'g'] as const;

/** Decoders, statistics and diffusion transformers of RAE (arXiv 2510.11690). */
const RAE = 'nyu-visionx/RAE-collections';

/** Those of RAEv2 (arXiv 2605.18324). */
const RAE_2 = 'nyu-visionx/RAEv2-models';

const web = (name: string, url: string, more: { sha256?: string; model?: string } = {}): [string, PublishedWeights] => {
  const { model, ...rest } = more;
  return [name, { source: { url, ...rest }, ...(model && { model }) }];
};

const hub = (name: string, repo: string, file: string, model?: string): [string, PublishedWeights] => [
  name,
  { source: { repo, file }, ...(model && { model }) },
];

export const REGISTRY: ReadonlyMap<string, PublishedWeights> = new Map([
  ...SIZES.map((size) =>
    web(`dinov2-vit-${size}`, `${META}/dinov2/dinov2_vit${size}14/dinov2_vit${size}14_pretrain.pth`),
  ),
  ...SIZES.map((size) =>
    web(`dinov2reg-vit-${size}`, `${META}/dinov2/dinov2_vit${size}14/dinov2_vit${size}14_reg4_pretrain.pth`),
  ),
  ...Object.entries(DINOV3).map(([size, name]) =>
    hub(`dinov3-vit-${size}`, `timm/vit_${name}_patch16_dinov3.lvd1689m`, 'model.safetensors'),
  ),
  web('dinov1-vit-s', `${META}/dino/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth`),
  web('dinov1-vit-b', `${META}/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth`),
  web('mocov3-vit-s', `${META}/moco-v3/vit-s-300ep/vit-s-300ep.pth.tar`),
  web('mocov3-vit-b', `${META}/moco-v3/vit-b-300ep/vit-b-300ep.pth.tar`),
  web('mae-vit-b', `${META}/mae/pretrain/mae_pretrain_vit_base.pth`),
  web('mae-vit-l', `${META}/mae/pretrain/mae_pretrain_vit_large.pth`),
  web('mae-vit-h', `${META}/mae/pretrain/mae_pretrain_vit_huge.pth`),
  web('jepa-vit-h', `${META}/ijepa/IN1K-vit.h.14-300e.pth.tar`),
  hub('clip-vit-b', 'openai/clip-vit-base-patch16', 'pytorch_model.bin'),
  hub('clip-vit-l', 'openai/clip-vit-large-patch14', 'model.safetensors'),
  hub('clip-vocabulary', 'openai/clip-vit-large-patch14', 'vocab.json'),
  hub('clip-merges', 'openai/clip-vit-large-patch14', 'merges.txt'),
  ...['siglip', 'siglip2'].flatMap((name) => [
    hub(`${name}-vit-b`, `google/${name}-base-patch16-256`, 'model.safetensors'),
    hub(`${name}-vit-l`, `google/${name}-large-patch16-256`, 'model.safetensors'),
    hub(`${name}-vit-so400m`, `google/${name}-so400m-patch14-224`, 'model.safetensors'),
  ]),
  hub('siglip2-vit-so400m-16', 'google/siglip2-so400m-patch16-256', 'model.safetensors'),
  hub('convnextv2-b', 'timm/convnextv2_base.fcmae_ft_in22k_in1k', 'model.safetensors'),
  hub('sd-vae-ft-ema', 'stabilityai/sd-vae-ft-ema', 'diffusion_pytorch_model.safetensors'),
  hub('sd-vae-ft-mse', 'stabilityai/sd-vae-ft-mse', 'diffusion_pytorch_model.safetensors'),
  ...['sdvae', 'invae', 'vavae'].flatMap((name) => [
    hub(`e2e-${name}`, `REPA-E/e2e-${name}`, `e2e-${name}-400k.pt`),
    hub(`e2e-${name}-latents-stats`, `REPA-E/e2e-${name}`, `e2e-${name}-400k-latents-stats.pt`),
  ]),
  hub('taesd', 'madebyollin/taesd', 'diffusion_pytorch_model.safetensors'),
  hub('taef2', 'madebyollin/taef2', 'taef2.safetensors'),
  hub('rae-ditdh-xl', RAE, 'DiTs/Dinov2/wReg_base/ImageNet256/DiTDH-XL/stage2_model.pt', 'SiT-XL/1'),
  hub('rae-ditdh-s', RAE, 'DiTs/Dinov2/wReg_base/ImageNet256/DiTDH-S_ep14/stage2_model.pt', 'SiT-S/1'),
  hub('rae-2-xl', RAE_2, 'stage2/imagenet/dinov3l-k7/checkpoint.pt', 'SiT'), // of no named size
  hub('rae-dinov2reg-vit-b-decoder', RAE, 'decoders/dinov2/wReg_base/ViTXL_n08/model.pt'),
  hub('rae-dinov2reg-vit-b-statistics', RAE, 'stats/dinov2/wReg_base/imagenet1k/stat.pt'),
  ...['k7', 'k23'].flatMap((blocks) => [
    hub(`rae-dinov3-vit-l-${blocks}-decoder`, RAE_2, `stage1/imagenet/dinov3l-${blocks}/decoder.pt`),
    hub(`rae-dinov3-vit-l-${blocks}-statistics`, RAE_2, `stage1/imagenet/dinov3l-${blocks}/stats.pt`),
  ]),
  web(
    'inception-2015',
    'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth',
    { sha256: '6726825d' }, // as its name says
  ),
  web(
    'repa-sit-xl-2',
    'https://www.dl.dropboxusercontent.com/scl/fi/cxedbs4da5ugjq5wg3zrg/last.pt?rlkey=8otgrdkno0nd89po3dpwngwcc&st=apcc645o&dl=1',
    { model: 'SiT-XL/2' },
  ),
  hub('sit-xl-2', 'nyu-visionx/SiT-collections', 'SiT-XL-2-256.pt', 'SiT-XL/2'),
  web('dit-xl-2-256', `${META}/DiT/models/DiT-XL-2-256x256.pt`, { model: 'DiT-XL/2' }),
  web('dit-xl-2-512', `${META}/DiT/models/DiT-XL-2-512x512.pt`, { model: 'DiT-XL/2' }),
]);
