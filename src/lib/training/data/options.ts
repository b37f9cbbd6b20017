/** Options: where the data of a run are, and what encodes them. */
import { isMmditName } from '../../models/mmdit.js';
import { integer, list, text } from '../../options/option.js';
import { options, prefixed } from '../../options/table.js';
import { ENCODER } from '../../pretrained/options.js';

export const DATA = options({
  latents: text('--latents <path>', 'latents made by encode-vae', { default: 'latents' }),
  pixels: integer(
    '--pixels <n>',
    'train on the pixels of pictures: --latents is a folder, a .tar or a stream of images, cropped to this side',
    {
      min: 1,
    },
  ),
  feats: list('--feats <paths>', 'features made by extract-dino; several encoders separated by commas', String, {
    default: ['feats'],
  }),
  text: text('--text <path>', 'captions of the images, made by encode-text: what an MM-DiT draws from', {
    needs: {
      words: '--model MM-DiT/2',
      holds: ({ model }: { model: string }): boolean => isMmditName(model),
    },
  }),
  encoder: text('--encoder <name>', 'in place of --feats: compute features on the way, with this network', {
    conflicts: ['feats'],
  }),
  images: text('--images <path>', 'the images that the latents were made of: a folder, a .tar or a stream of images', {
    needs: 'encoder',
  }),
  encoderOptions: prefixed('encoder', ENCODER, { needs: '--encoder' }),
  out: text('--out <folder>', 'where checkpoints and the log go', { default: 'ckpt', writes: 'folder' }),
});
