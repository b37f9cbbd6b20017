/** Warnings of what makes a number hard to compare with others, above all with published ones. */
import { publishedNotes } from '../diffusion/samplers/index.js';
import { isRankDeficient } from '../metrics/frechet.js';
import type { FeatureNetwork } from '../pretrained/feature-network.js';
import type { FeatureSet } from './feature-set.js';
import type { ImageProtocol } from './image-protocol.js';

type Network = Pick<FeatureNetwork, 'name' | 'dims' | 'isInception' | 'isPublished' | 'resize'>;

/** How many samples published numbers of ImageNet take, and their sides. */
const PUBLISHED_COUNT = 50_000;
const PUBLISHED_SIDES = [256, 512];

/** The decoders of published numbers, by what their names and files' names contain. */
const PUBLISHED_DECODERS = ['sd-vae-ft-ema', 'sd-vae-ft-mse'];

/** One sentence for each fact that a reader of the numbers has to know. */
export function comparabilityWarnings(
  network: Network,
  samples: FeatureSet,
  reference: FeatureSet | undefined,
  protocol: ImageProtocol,
): string[] {
  const warnings = tooFew('samples', samples, network);
  if (reference) {
    warnings.push(...tooFew('reference', reference, network), ...ofSizes(samples, reference));
    if (network.isInception) warnings.push(...ofResize(network, reference));
  }
  // Other networks have no published numbers to be held against.
  if (network.isInception || network.isPublished) {
    warnings.push(...ofImages(samples), ...ofDecoder(protocol), ...ofSampler(protocol));
  }
  if (network.isInception && !network.isPublished) {
    warnings.push(`${network.name} is not the file of the published Inception weights: the numbers bear its name`);
  }
  return warnings;
}

function tooFew(what: string, set: FeatureSet, { dims }: Network): string[] {
  const gaussian = set.gaussian('pooled');
  if (!gaussian || !isRankDeficient(gaussian)) return [];
  return [`the ${what} are ${gaussian.count} images for ${dims.pooled} features: the distance is biased upwards`];
}

function ofSizes(samples: FeatureSet, { size, resized, source }: FeatureSet): string[] {
  const warnings: string[] = [];
  const square = (side: number | undefined): string => `${side}x${side}`;
  if (resized > 0) {
    const images = resized === 1 ? 'one image' : `${resized} images`;
    warnings.push(`${images} of the reference had another size, and were cropped and resized to ${square(size)}`);
  }
  const { image_size } = source?.origin ?? {};
  if (image_size !== undefined && samples.size !== undefined && image_size !== samples.size) {
    warnings.push(
      `the reference is of images of ${square(image_size)} pixels, the samples have ${square(samples.size)}`,
    );
  }
  return warnings;
}

/**
 * A warning about the resizing of images. Files of other programs do not tell it; but only ADM's evaluator, which made
 * the references of published numbers, computes spatial features.
 */
function ofResize({ resize }: Network, { source }: FeatureSet): string[] {
  if (source && !source.origin) {
    const likely = source.hasSpatial ? 'adm' : 'pytorch-fid';
    if (resize === likely) return [];
    return [`${source.file} does not say how its images were resized; such files go with --resize ${likely}`];
  }
  return resize === 'adm' ? [] : [`images are resized as '${resize}'; published numbers of ImageNet are of 'adm'`];
}

function ofImages(samples: FeatureSet): string[] {
  const warnings: string[] = [];
  const { size } = samples;
  const count = samples.gaussian('pooled')?.count ?? samples.count;
  if (count < PUBLISHED_COUNT) {
    warnings.push(`published numbers are of ${PUBLISHED_COUNT} samples, this is of ${count || 'an unknown number'}`);
  }
  if (size !== undefined && !PUBLISHED_SIDES.includes(size)) {
    warnings.push(`the images have ${size}x${size} pixels; published numbers are of ${PUBLISHED_SIDES.join(' or ')}`);
  }
  return warnings;
}

function ofDecoder({ decoder }: ImageProtocol): string[] {
  if (!decoder) return ['the images do not tell what decoded them'];
  const warnings: string[] = [];
  if (!PUBLISHED_DECODERS.some((name) => decoder.name.includes(name))) {
    warnings.push(`the decoder is ${decoder.name}; those of published numbers are ${PUBLISHED_DECODERS.join(' and ')}`);
  }
  if (decoder.rounding === 'round') {
    warnings.push("pixels are rounded as SiT's and DiT's tools do it; REPA's truncate");
  }
  return warnings;
}

function ofSampler({ sampler }: ImageProtocol): string[] {
  if (!sampler) return ['the images do not tell how they were sampled'];
  const { labels, weights } = sampler;
  const warnings = publishedNotes(sampler);
  if (labels !== 'random') {
    warnings.push(`the labels are ${labels}; those of published numbers are random, unless they say otherwise`);
  }
  if (weights === 'raw') {
    warnings.push('the weights are not averaged; those of published numbers are');
  }
  return warnings;
}
