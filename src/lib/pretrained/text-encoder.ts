/** Frozen encoders of text, whose vectors networks are conditioned on: weights, architecture and tokenizer in one. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { capture } from '../engine/index.js';
import { DataError, UsageError } from '../errors.js';
import { locateWeights } from '../hub/locate.js';
import { clipText, clipTextShapes, inferClipTextConfig, isUnusedByClipText } from '../models/clip-text.js';
import { matchWeights, toParameters } from '../models/parameters.js';
import { ClipTokenizer } from './clip-tokenizer.js';
import { loadNetwork } from './load.js';

export interface TextEncoder {
  /** Its name, as recorded in `repa.model`. */
  readonly name: string;
  readonly sha256: string;
  /** Entries of a header that tell which it is. */
  readonly metadata: Readonly<Record<string, string>>;
  /** L, the tokens of a text. */
  readonly tokens: number;
  readonly dim: number;
  /**
   * Vectors of at most `batchSize` texts: [N, tokens, dim]. The array may be a view of memory that the next call
   * overwrites.
   */
  encode(texts: readonly string[]): Float32Array;
  dispose(): void;
}

export interface TextEncoderOptions {
  encoder: string;
  /** A weights file, in place of the name's own; its architecture is inferred. */
  weights?: string | undefined;
  /** Folder of vocab.json and merges.txt; by default that of the weights. */
  tokenizer?: string | undefined;
  batchSize: number;
}

/** The entry of a header for the vocabulary that texts were tokenized with. */
export const VOCABULARY_KEY = 'repa.vocabulary.sha256';

/** The text encoder of Stable Diffusion and of REPA's MM-DiT. */
export const DEFAULT_TEXT_ENCODER = 'clip-vit-l';

/** The activation by name: OpenAI's towers have the quick GELU, LAION's the exact one. */
const ACTIVATIONS = [
  [/^clip-vit-[bl]$/, 'quick'],
  [/^openclip-vit-([blhg]|bigg)$/, 'erf'],
] as const;

/** Whether a text tower is known by this name. */
export const isTextEncoder = (name: string | undefined): name is string =>
  name !== undefined && ACTIVATIONS.some(([pattern]) => pattern.test(name));

function activationOf(encoder: string) {
  const known = ACTIVATIONS.find(([pattern]) => pattern.test(encoder))?.[1];
  if (known) return known;
  throw new UsageError(
    `there is no encoder of text '${encoder}'`,
    'They are clip-vit-{b,l} and openclip-vit-{b,l,h,g,bigg}.',
  );
}

/**
 * Opens the text tower of a CLIP by name, or of a weights file.
 * @throws UsageError for a name that is not known; UnavailableError for one whose weights are not here;
 *   MissingInputError without a vocabulary; DataError for weights of another network
 */
export async function openTextEncoder(options: TextEncoderOptions): Promise<TextEncoder> {
  const { encoder, weights: file, batchSize } = options;
  const activation = activationOf(encoder);
  const tokenizer = new ClipTokenizer(options.tokenizer ?? vocabularyFolder(file ?? locateWeights(encoder)));
  const { name, sha256, config, parameters } = await loadNetwork(
    { kind: 'clip-text', name: encoder, file },
    ({ name, sha256, weights }) => {
      const config = inferClipTextConfig(weights, name, activation);
      const matched = matchWeights(weights, clipTextShapes(config), name, isUnusedByClipText);
      return { name, sha256, config, parameters: toParameters(matched) };
    },
  );
  if (tokenizer.size > config.vocabulary) {
    throw new DataError(
      `the vocabulary has ${tokenizer.size} tokens, ${name} ${config.vocabulary}: they do not belong together`,
      'Name the folder of its vocab.json and merges.txt by --tokenizer.',
    );
  }
  const { length: tokens, width: dim } = config;
  const program = capture(
    (numbers) => [clipText(parameters, config, numbers)], // [B, N, D]
    [{ shape: [batchSize, tokens], dtype: 'int32' }],
    { constants: 'bake', byRow: true },
  );
  return {
    name,
    sha256,
    metadata: { 'repa.model': name, 'repa.model.sha256': sha256, [VOCABULARY_KEY]: tokenizer.sha256 },
    tokens,
    dim,
    encode(texts) {
      const numbers = new Int32Array(batchSize * tokens); // [B, N]
      texts.forEach((text, row) => {
        numbers.set(tokenizer.encode(text, tokens), row * tokens);
      });
      // Fewer texts than the batch size are computed at full size: another size would have to be compiled.
      const [vectors] = program.run(numbers) as [Float32Array];
      return vectors.subarray(0, texts.length * tokens * dim);
    },
    dispose: () => program.dispose(),
  };
}

/** Where `repa pull clip-vocabulary clip-merges` puts the files: beside the weights that it pulls. */
function vocabularyFolder(weights: string): string {
  const folder = path.dirname(weights);
  if (existsSync(path.join(folder, 'vocab.json'))) return folder;
  return path.dirname(locateWeights('clip-vocabulary'));
}
