/** Facts of published encoders that their weights do not tell, by name. */
import { DataError, UsageError } from '../errors.js';
import type { EncoderPreprocess } from '../images/preprocess.js';
import type { Shapes } from '../models/parameters.js';
import type { ViTHints } from '../models/vit.js';

export interface KnownEncoder extends ViTHints {
  preprocess: EncoderPreprocess;
  /** Side of the square crop; the official training code crops images to 256 pixels for all of its encoders. */
  cropSize: number;
}

const CROP = 256;

/** OpenAI's CLIP, whose patch tokens the official code takes before the final norm; LAION's has the exact GELU. */
const OPENAI_CLIP: KnownEncoder = {
  preprocess: 'clip',
  cropSize: CROP,
  finalNorm: false,
  activation: 'quick',
  epsilon: 1e-5,
};

/** The first pattern that fits counts. Names are those of the official code's `--enc-type`, and more of their kind. */
const ENCODERS: readonly [RegExp, KnownEncoder][] = [
  [/^dinov2(reg)?-vit-[sblg]$/, { preprocess: 'dinov2', cropSize: CROP }],
  [/^dinov3-vit-([sbl]|splus|hplus)$/, { preprocess: 'dinov3', cropSize: CROP, epsilon: 1e-5 }],
  [/^dinov1-vit-[sb]$/, { preprocess: 'dinov1', cropSize: CROP }],
  [/^mocov3-vit-s$/, { preprocess: 'mocov3', cropSize: CROP, heads: 12 }],
  [/^mocov3-vit-[bl]$/, { preprocess: 'mocov3', cropSize: CROP }],
  [/^mae-vit-[blh]$/, { preprocess: 'mae', cropSize: CROP, finalNorm: false }],
  [/^jepa-vit-h$/, { preprocess: 'jepa', cropSize: CROP }],
  [/^clip-vit-[bl]$/, OPENAI_CLIP],
  [/^openclip-vit-([blhg]|bigg)$/, { ...OPENAI_CLIP, activation: 'erf' }],
  [
    /^siglip2?-vit-([bl]|so400m)$|^siglip2-vit-so400m-16$/,
    { preprocess: 'siglip', cropSize: CROP, activation: 'tanh' },
  ],
  [/^emoji-vit$/, { preprocess: 'dinov1', cropSize: 64 }],
];

/** @throws UsageError for a name that is not known: how its images are prepared cannot be told from weights. */
export function knownEncoder(name: string): KnownEncoder {
  const known = ENCODERS.find(([pattern]) => pattern.test(name))?.[1];
  if (known) return known;
  throw new UsageError(
    `there is no encoder '${name}'`,
    'Encoders are dinov2-vit-{s,b,l,g}, dinov2reg-vit-{s,b,l,g}, dinov3-vit-{s,splus,b,l,hplus}, dinov1-vit-{s,b}, mocov3-vit-{s,b,l}, mae-vit-{b,l,h}, jepa-vit-h, clip-vit-{b,l}, openclip-vit-{b,l,h,g,bigg}, siglip-vit-{b,l,so400m}, siglip2-vit-{b,l,so400m,so400m-16}, emoji-vit and emoji-cnn.',
  );
}

/**
 * The encoder that weights without a name are taken for: one of the family that their names (of DINOv2's kind) tell.
 */
const DEFAULTS = { clip: 'clip-vit-l', siglip: 'siglip-vit-b', dinov3: 'dinov3-vit-b', other: 'dinov2-vit-b' } as const;

function familyOf(shapes: Shapes): keyof typeof DEFAULTS {
  if (shapes.has('norm_pre.weight')) return 'clip';
  if (shapes.has('rope_embed.periods')) return 'dinov3';
  // The pool by attention on top of it.
  return shapes.has('head.probe') || shapes.has('attn_pool.latent') ? 'siglip' : 'other';
}

/**
 * What is known of the encoder called `name`, or without a name of those of the family that `shapes` belong to.
 * @throws UsageError for a name that is not known; DataError when the weights are of another family
 */
export function encoderOf(name: string | undefined, shapes: Shapes, source: string): KnownEncoder {
  const family = familyOf(shapes);
  const known = knownEncoder(name ?? DEFAULTS[family]);
  const isOf = (kind: 'clip' | 'dinov3'): boolean => (known.preprocess === kind) === (family === kind);
  if (!isOf('clip') || !isOf('dinov3') || (family === 'siglip' && known.preprocess !== 'siglip')) {
    const kind = { clip: 'a CLIP', siglip: 'a SigLIP', dinov3: 'a DINOv3', other: 'another vision' }[family];
    throw new DataError(
      `${source}: holds ${kind} transformer, not ${name}`,
      'Leave --encoder out, and it is told by the weights.',
    );
  }
  return known;
}
