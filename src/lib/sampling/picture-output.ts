/** Samples as pictures to look at: a sheet of them all, a PNG of each. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { UsageError } from '../errors.js';
import { makeFolder } from '../files/folders.js';
import { type Mark, markUnfinished } from '../files/unfinished-folder.js';
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
  readonly #mark: Mark | undefined;

  /** @param job all that the pictures depend on */
  constructor(options: PictureOptions, job: string) {
    this.#options = options;
    if (!options.png) return;
    makeFolder(options.png);
    this.#mark = markUnfinished(options.png, job);
  }

  async add(key: string, image: RgbImage): Promise<void> {
    const { grid, png } = this.#options;
    if (grid) this.#sheet.push(image);
    if (png) await this.#write(path.join(png, `${key}.png`), image);
  }

  /** A folder that was left unfinished is continued; files of another run stay as they are. */
  async #write(file: string, image: RgbImage): Promise<void> {
    if (!this.#mark!.resumed && existsSync(file)) {
      this.#mark!.remove();
      throw new UsageError(`${file} is there already, of another run`, 'Choose a new folder for --png.');
    }
    await writePng(file, image);
  }

  /** Adds the images of a stream, where pictures are wanted at all. */
  async addPart(file: string): Promise<void> {
    if (!this.#options.grid && !this.#options.png) return;
    const { images } = await openImages(file);
    for await (const { key, image } of images) await this.add(key, image);
  }

  /** Writes the sheet, and says that the folder is whole. */
  async end(): Promise<void> {
    if (this.#options.grid) await writePng(this.#options.grid, contactSheet(this.#sheet));
    this.#mark?.remove(); // last: a run that is stopped before can be run again
  }
}
