/** Samples as pictures to look at: a sheet of them all, a PNG of each. */
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { openImages } from '../images/open-images.js';
import { contactSheet, writePng } from '../images/png.js';
import type { RgbImage } from '../images/rgb-image.js';

export interface PictureOptions {
  /** The sheet's file. */
  grid?: string;
  /** The folder of single pictures. */
  png?: string;
}

export class PictureOutput {
  readonly #options: PictureOptions;
  readonly #sheet: RgbImage[] = [];

  constructor(options: PictureOptions) {
    this.#options = options;
    if (options.png) mkdirSync(options.png, { recursive: true });
  }

  async add(key: string, image: RgbImage): Promise<void> {
    const { grid, png } = this.#options;
    if (grid) this.#sheet.push(image);
    if (png) await writePng(path.join(png, `${key}.png`), image);
  }

  /** Adds the images of a stream, where pictures are wanted at all. */
  async addPart(file: string): Promise<void> {
    if (!this.#options.grid && !this.#options.png) return;
    const { images } = await openImages(file);
    for await (const { key, image } of images) await this.add(key, image);
  }

  /** Writes the sheet. */
  async end(): Promise<void> {
    if (this.#options.grid) await writePng(this.#options.grid, contactSheet(this.#sheet));
  }
}
