/** What the verb gives to the measurements of a run. */
import type { ImageInput } from '../../images/open-images.js';
import type { Progress } from '../../progress.js';

export interface MonitorInputs {
  /** Opens a set of images. */
  open(path: string): Promise<ImageInput>;
  progress(label: string, total?: number): Progress;
}
