/**
 * Representation autoencoders (RAE, arXiv 2510.11690): latents are the tokens of a frozen encoder, each position
 * standardised over a set of images, and a trained decoder turns them back into pixels. Checked against the published
 * code (fixture published/rae): latents and images.
 */
import { DataError, UnavailableError, UsageError } from '../errors.js';
import { findWeights } from '../hub/locate.js';
import { REGISTRY } from '../hub/registry.js';
import { encoderSide, normalisePlanes, preprocessNormalisation } from '../images/preprocess.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { decodeTokens, inferRaeDecoder, raeDecoderShapes } from '../models/rae-decoder.js';
import { fitPositions, inferViTConfig, latentTokens, vitShapes } from '../models/vit.js';
import { isUnusedByViT } from '../models/vit-names.js';
import { sizeOf } from '../numbers/typed-array.js';
import type { Codec } from './codec-interface.js';
import { CompiledByImage } from './compiled.js';
import { encoderOf, knownEncoder } from './encoders.js';
import {
  checkStatistics,
  destandardised,
  type LatentStatistics,
  readStatistics,
  standardise,
} from './latent-statistics.js';
import { openNetwork } from './load.js';

/**
 * `rae:` and the name of an encoder; then how many of its last blocks, or which blocks, are averaged, if not the last
 * alone.
 */
const NAME = /^rae:([^/]+)(?:\/([1-9]\d*(?:\.[1-9]\d*)*))?$/;

/** Whether the name of a codec is that of an encoder's tokens. */
export const isTokenCodec = (name: string): boolean => name.startsWith('rae:');

export interface TokenCodecOptions {
  /**
   * `rae:dinov2reg-vit-b`, or `rae:dinov2reg-vit-b/4` for the mean of its last four blocks, `/6.9.12` for that of
   * these.
   */
  vae: string;
  /** Weights of the half that is used, in place of its name's own. */
  weights?: string;
  /** The file of the statistics, in place of the name's own; `none` for tokens as the encoder gives them. */
  statistics?: string;
  half: 'encoder' | 'decoder';
  /** Tokens as the encoder gives them: statistics are to be made of these. */
  raw?: boolean;
}

/** @throws UsageError for a name that is not one of encoder tokens */
function parsedName(vae: string): { encoder: string; blocks: string } {
  const [, encoder, blocks = '1'] = NAME.exec(vae) ?? [];
  if (encoder === undefined) {
    throw new UsageError(
      `there is no codec '${vae}'`,
      'Encoder tokens are named rae:dinov2reg-vit-b, or of the last four blocks rae:dinov2reg-vit-b/4, or of three blocks rae:dinov2reg-vit-b/6.9.12.',
    );
  }
  knownEncoder(encoder); // a wrong name is told before weights are looked for
  return { encoder, blocks };
}

/** RAEv2's choices of blocks, by its names for them (arXiv 2605.18324; its published configurations). */
const PUBLISHED_BLOCKS = new Map([
  ['12.14.16.18.20.22.24', 'k7'],
  ['23', 'k23'],
]);

/**
 * The name under which the published decoder or the statistics of a codec are kept: each choice of blocks has its own.
 */
function partName(vae: string, part: 'decoder' | 'statistics'): string {
  const { encoder, blocks } = parsedName(vae);
  const chosen = blocks === '1' ? '' : `-${PUBLISHED_BLOCKS.get(blocks) ?? blocks}`;
  return `rae-${encoder}${chosen}-${part}`;
}

/** The numbers of the blocks that a name gives. @throws UsageError for blocks that the encoder does not have */
function blocksOf(name: string, depth: number, vae: string): number[] {
  const numbers = name.split('.').map(Number);
  const [last] = numbers;
  const chosen = numbers.length > 1 ? numbers : Array.from({ length: last }, (_, i) => depth - last + i + 1);
  const rises = chosen.every((number, i) => number >= 1 && number <= depth && (i === 0 || number > chosen[i - 1]));
  if (rises) return chosen;
  throw new UsageError(
    `${vae}: the encoder has ${depth} blocks`,
    'Name several of them in their order, or how many of the last.',
  );
}

/** The word that takes the place of a file of statistics for tokens without. */
export const WITHOUT_STATISTICS = 'none';

/** @throws UnavailableError when nothing tells the statistics */
async function statisticsOf({ vae, statistics, raw }: TokenCodecOptions): Promise<LatentStatistics | undefined> {
  if (raw || statistics === WITHOUT_STATISTICS) return undefined;
  const name = partName(vae, 'statistics');
  const file = statistics ?? findWeights(name);
  if (file !== undefined) return readStatistics(file);
  throw new UnavailableError(
    `latents of ${vae} without their statistics are not what a network is trained on`,
    `Make statistics of your images with repa encode-vae --vae ${vae} --fit-statistics FILE, and name that file with --statistics (of sample: --vae-statistics)${REGISTRY.has(name) ? `; or take those of ImageNet: repa pull ${name}` : ''}.`,
  );
}

/**
 * Opens one half of such an autoencoder; the other is not there.
 * @throws UnavailableError for weights or statistics that are not here; DataError for those of something else
 */
export async function openTokenCodec(options: TokenCodecOptions): Promise<Codec> {
  const { encoder, blocks } = parsedName(options.vae);
  const statistics = await statisticsOf(options);
  const half =
    options.half === 'encoder'
      ? await openEncoderHalf(encoder, blocks, options)
      : await openDecoderHalf(encoder, options);
  const check = (size: number): void => {
    if (statistics) checkStatistics(statistics, [half.channels, size, size], options.statistics ?? options.vae);
  };
  return {
    ...missingHalf(options),
    ...half,
    name: options.vae,
    column: 'latent',
    scale: { scale: [1], shift: [0] },
    statistics: statistics?.sha256,
    ...(half.encode && {
      encode(images: Float32Array, count: number, size: number) {
        check(size / half.downsampling);
        const latents = half.encode!(images, count, size); // [N, C, h, w]
        if (statistics) standardise(latents, statistics);
        return latents;
      },
    }),
    ...(half.decode && {
      decode(latents: Float32Array, count: number, size: number) {
        check(size);
        return half.decode!(statistics ? destandardised(latents, statistics) : latents, count, size);
      },
    }),
  };
}

const missingHalf = ({ vae, half }: TokenCodecOptions): Pick<Codec, 'encode' | 'decode'> => {
  const refuse = (): never => {
    throw new UsageError(`${vae} was opened as ${half} alone`);
  };
  return { encode: refuse, decode: refuse };
};

type Half = Pick<Codec, 'sha256' | 'channels' | 'downsampling' | 'dispose'> & Partial<Pick<Codec, 'encode' | 'decode'>>;

/** With patches of 14 the encoder sees a 256-pixel image at 224: a latent pixel stands for 16 pixels of the image. */
const SEEN_AT_14 = 16;

async function openEncoderHalf(name: string, blocks: string, { weights: file, vae }: TokenCodecOptions): Promise<Half> {
  const network = await openNetwork({ kind: 'vit', name, file });
  try {
    const { preprocess, ...hints } = encoderOf(name, network.weights, network.name);
    const trained = inferViTConfig(network.weights, network.name, { ...hints, finalNorm: false });
    const chosen = blocksOf(blocks, trained.depth, vae);
    const matched = matchWeights(network.weights, vitShapes(trained), network.name, isUnusedByViT);
    const normalisation = preprocessNormalisation(preprocess);
    const compiled = new Map<number, CompiledByImage>();
    const compile = (side: number): CompiledByImage => {
      const { config, weights } = fitPositions(matched, trained, { height: side, width: side }, 'timm');
      return new CompiledByImage(() => {
        const parameters = toParameters(weights);
        return (images) => [latentTokens(parameters, config, images, chosen)]; // [N, T, C]
      });
    };
    return {
      sha256: network.sha256,
      channels: trained.width,
      downsampling: trained.patchSize === 14 ? SEEN_AT_14 : trained.patchSize,
      encode(images, count, size) {
        const side = encoderSide(trained.patchSize, size);
        const program = compiled.get(side) ?? compile(side);
        compiled.set(side, program);
        const input = new Float32Array(count * sizeOf([3, side, side])); // [N, 3, S, S]
        for (let image = 0; image < count; image++) {
          const planes = images.subarray(image * 3 * size * size, (image + 1) * 3 * size * size);
          input.set(normalisePlanes(planes, size, side, normalisation), image * 3 * side * side);
        }
        const [tokens] = program.run(input, [count, 3, side, side]);
        return channelsFirst(tokens, count, trained.width);
      },
      dispose() {
        for (const program of compiled.values()) program.dispose();
        network.close();
      },
    };
  } catch (error) {
    network.close();
    throw error;
  }
}

/** Tokens [N, T, C] as latents [N, C, h, w], whose positions are the tokens row by row. */
function channelsFirst(tokens: Float32Array, count: number, channels: number): Float32Array {
  const positions = tokens.length / (count * channels);
  const latents = new Float32Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    const [channel, token] = [i % channels, Math.floor(i / channels)];
    const [image, position] = [Math.floor(token / positions), token % positions];
    latents[(image * channels + channel) * positions + position] = tokens[i];
  }
  return latents;
}

async function openDecoderHalf(encoder: string, { vae, weights: file }: TokenCodecOptions): Promise<Half> {
  const network = await openNetwork({ kind: 'rae-decoder', name: partName(vae, 'decoder'), file });
  try {
    const config = inferRaeDecoder(network.weights, network.name);
    const parameters = toParameters(matchWeights(network.weights, raeDecoderShapes(config), network.name));
    network.close();
    const { mean, std } = preprocessNormalisation(knownEncoder(encoder).preprocess);
    const program = new CompiledByImage(() => (z) => [decodeTokens(parameters, config, z)]);
    return {
      sha256: network.sha256,
      channels: config.latentDim,
      downsampling: config.patchSize,
      decode(latents, count, size) {
        if (size !== config.side) {
          throw new DataError(
            `${network.name}: decodes ${config.side} x ${config.side} tokens of ${vae}, but the latents are ${size} x ${size}`,
          );
        }
        const [images] = program.run(latents, [count, config.latentDim, size, size]); // [N, 3, H, W], normalised
        const pixels = (size * config.patchSize) ** 2;
        return images.map((value, i) => {
          const channel = Math.floor(i / pixels) % 3;
          return 2 * (value * std[channel] + mean[channel]) - 1;
        });
      },
      dispose: () => program.dispose(),
    };
  } catch (error) {
    network.close();
    throw error;
  }
}
