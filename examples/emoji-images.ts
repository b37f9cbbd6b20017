/**
 * Writes a small labelled data set of real pictures, `<folder>/<class>/<name>.png`, from the npm package
 * `emoji-datasource-google`: emoji on white, 64 pixels, in classes whose members look alike.
 *
 *     node dist/examples/emoji-images.js imgs
 *     node dist/examples/emoji-images.js --split images     all categories, in train and val
 */
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { type Emoji, emojiFile, isHeldOut, listEmoji } from './emoji/dataset.js';

const SIGNS = new Set(['keycap', 'alphanum', 'zodiac', 'av-symbol']);

const CLASSES: Record<string, (emoji: Emoji) => boolean> = {
  faces: ({ subcategory }) => /^face-(?!costume)/.test(subcategory),
  flags: ({ subcategory }) => subcategory === 'country-flag',
  people: ({ subcategory }) => subcategory === 'person',
  shapes: ({ name, subcategory }) =>
    subcategory === 'geometric' || /^clock\d+$/.test(name) || /^(\w+_)?heart$/.test(name),
  signs: ({ subcategory }) => SIGNS.has(subcategory),
};

/** Pictures of a class; of more, evenly spaced ones are taken, so that all classes are about as large. */
const MOST = 110;

const thinned = (emoji: Emoji[]): Emoji[] =>
  emoji.length <= MOST ? emoji : Array.from({ length: MOST }, (_, i) => emoji[Math.floor((i * emoji.length) / MOST)]);

/** Of an emoji on white, a PNG file in the folder of a class. */
async function write(emoji: Emoji, folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const target = path.join(folder, `${emoji.name}${emoji.tone ? `-${emoji.tone}` : ''}.png`);
  if (!existsSync(target)) await sharp(emojiFile(emoji)).flatten({ background: 'white' }).toFile(target);
}

/** The small classes of the quick start. */
async function writeClasses(folder: string): Promise<void> {
  for (const [label, belongs] of Object.entries(CLASSES)) {
    const emojis = thinned(listEmoji().filter(belongs));
    for (const emoji of emojis) await write(emoji, path.join(folder, label));
    process.stderr.write(`${label}: ${emojis.length} pictures\n`);
  }
}

/**
 * All emoji without skin tones by their category: `train`, and those that no network shipped with repa has seen in
 * `val`.
 */
async function writeSplit(folder: string): Promise<void> {
  const emojis = listEmoji().filter(({ tone, category }) => tone === '' && category !== 'Component');
  for (const emoji of emojis) {
    const category = emoji.category.toLowerCase().replace(/[^a-z]+/g, '-');
    await write(emoji, path.join(folder, isHeldOut(emoji) ? 'val' : 'train', category));
  }
  process.stderr.write(`${emojis.length} pictures\n`);
}

const { values, positionals } = parseArgs({ options: { split: { type: 'boolean' } }, allowPositionals: true });
const [folder] = positionals;
if (folder === undefined) {
  process.stderr.write('usage: node dist/examples/emoji-images.js [--split] FOLDER\n');
  process.exit(2);
}
await (values.split ? writeSplit : writeClasses)(folder);
