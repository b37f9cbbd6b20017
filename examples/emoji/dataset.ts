/** The pictures of the npm package `emoji-datasource-google`: 64 pixels, in categories and subcategories. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import sharp from 'sharp';

export const SIDE = 64;

export interface Emoji {
  /** File name within the package, such as 1f600.png. */
  file: string;
  /** Code points without skin tone: an emoji's variants share them. */
  codes: string;
  category: string;
  subcategory: string;
  /** Short name, such as grinning. */
  name: string;
  /** Code points of the skin tones, such as 1f3fb; empty for the yellow original. */
  tone: string;
}

interface Entry {
  unified: string;
  image: string;
  category: string;
  subcategory: string;
  short_name: string;
  has_img_google: boolean;
  skin_variations?: Record<string, { image: string; has_img_google: boolean }>;
}

const packageFolder = (): string =>
  path.dirname(createRequire(import.meta.url).resolve('emoji-datasource-google/package.json'));

/** Every picture of the package; those of one emoji follow each other, the original first. */
export function listEmoji(): Emoji[] {
  const entries: Entry[] = JSON.parse(readFileSync(path.join(packageFolder(), 'emoji.json'), 'utf8'));
  return entries.flatMap(({ unified: codes, category, subcategory, short_name: name, skin_variations = {}, ...own }) =>
    Object.entries({ '': own, ...skin_variations })
      .filter(([, variant]) => variant.has_img_google)
      .map(([tone, { image: file }]) => ({ file, codes, category, subcategory, name, tone: tone.toLowerCase() })),
  );
}

export const emojiFile = ({ file }: Emoji): string => path.join(packageFolder(), 'img/google/64', file);

/** A picture on white: `SIDE` x `SIDE` RGB bytes. */
export const readEmoji = (emoji: Emoji): Promise<Uint8Array> =>
  sharp(emojiFile(emoji)).flatten({ background: 'white' }).toColourspace('srgb').raw().toBuffer();

const MAN_OR_WOMAN = /\b(1F468|1F469)\b/g;
const GENDER_SIGN = /-200D-264[02]-FE0F/g;

/**
 * Whether a picture is kept from training: one emoji in five, by a hash of its code points. All skin tones and genders
 * of an emoji fall on the same side, so that no near copy of a held-out picture is seen in training.
 */
export function isHeldOut({ codes }: Emoji): boolean {
  const genderless = codes.replace(MAN_OR_WOMAN, '1F9D1').replace(GENDER_SIGN, '');
  return createHash('sha256').update(genderless).digest()[0] < 256 / 5;
}
