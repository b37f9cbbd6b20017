/** Lists of labels in a file apart from the pictures, as for ImageNet's validation set. */
import { DataError } from '../errors.js';
import { readSmallText } from '../files/small-file.js';
import { isImageName } from './image-names.js';

/** What a file tells of pictures: a class number or a name of a class, by the picture's name. */
export interface LabelList {
  readonly where: string;
  /**
   * @param name a picture's path in its set; it is known by that, by its last part, or by either without its ending
   * @returns the class, and what the list calls the picture
   */
  of(name: string): { label: string; called: string } | undefined;
}

/** What begins the second line or so of Kaggle's table. */
const HEADER = /^(image_?id|image|file_?name|filename|path|name)$/i;

/**
 * Lines of a picture's name and its class, apart by spaces, tabs or commas: Caffe's val.txt
 * (`ILSVRC2012_val_00000001.JPEG 65`), Kaggle's LOC_val_solution.csv (`ILSVRC2012_val_00048981,n03995372 85 1 499 272`,
 * of which the first class counts).
 * @throws MissingInputError when there is no such file; DataError for a line that is none, or a picture that is named
 *   twice
 */
export function readLabelFile(file: string): LabelList {
  const labels = new Map<string, string>();
  for (const [i, line] of readSmallText(file).split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const [name, label] = line.trim().split(/[\s,]+/);
    if (i === 0 && HEADER.test(name)) continue;
    if (label === undefined) {
      throw new DataError(
        `${file}: line ${i + 1} is not a picture's name and its class`,
        'Numbers alone do not tell which class is meant: those of ILSVRC2012_validation_ground_truth.txt are not in the order of the folders of train.',
      );
    }
    const key = withoutEnding(name);
    if (labels.has(key)) throw new DataError(`${file}: line ${i + 1} names ${name} again`);
    labels.set(key, label);
  }
  return {
    where: file,
    of(name) {
      const calls = [name, name.slice(name.lastIndexOf('/') + 1)].map(withoutEnding);
      const called = calls.find((call) => labels.has(call));
      return called === undefined ? undefined : { label: labels.get(called)!, called };
    },
  };
}

const withoutEnding = (name: string): string => (isImageName(name) ? name.slice(0, name.lastIndexOf('.')) : name);
