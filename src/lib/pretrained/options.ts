/** Options of pretrained networks: which one, its weights, its input and its output. */
import { choice, integer, text } from '../options/option.js';
import { options } from '../options/table.js';

/** Of verbs that crop images for a network. */
export const SIZE = integer('--size <n>', 'side of the square that is cropped from each image', {
  min: 1,
  defaultText: '256, or what the network takes',
});

/** A network of another kind, as an ONNX file. */
export const ONNX = options({
  output: text('--output <name>', 'the output of an ONNX file to take', {
    defaultText: 'the first that is a map, a sequence or a vector',
  }),
  normalise: choice(
    '--normalise <how>',
    "what an ONNX file takes: ImageNet's or CLIP's mean and deviation, [-1, 1], or [0, 1]",
    ['imagenet', 'clip', 'signed', 'unit'],
    { defaultText: 'imagenet' },
  ),
});

/** A frozen encoder of images. */
export const ENCODER = options({
  weights: text('--weights <file>', "the encoder's weights"),
  heads: integer('--heads <n>', 'attention heads', {
    min: 1,
    defaultText: 'those of published models of its width',
  }),
  posEmbed: choice(
    '--pos-embed <how>',
    'how positions are resampled to the grid: as the official REPA does, or as DINOv2',
    ['timm', 'dinov2'],
    { default: 'timm' },
  ),
  ...ONNX,
  size: SIZE,
});

/** A network whose features make a distance between sets of images. */
export const FEATURE_NETWORK = options({
  net: text('--net <name>', 'inception, the name of an encoder, or an .onnx file', { default: 'inception' }),
  weights: text('--weights <file>', "the network's weights"),
  ...ONNX,
});
