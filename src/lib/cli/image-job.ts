/** The job of encode-vae and extract-dino: images in, tensors of each image out. */
import { inBatches } from '../batches.js';
import { engineEntry } from '../engine/select.js';
import { DataError, UsageError } from '../errors.js';
import { portablePath } from '../files/portable-path.js';
import type { ImageInput } from '../images/open-images.js';
import type { RgbImage } from '../images/rgb-image.js';
import { firstNonFinite } from '../numbers/finite.js';
import { sizeOf } from '../numbers/typed-array.js';
import { rowBytes, showColumn, type TensorColumn, withScales } from '../stream/schema.js';
import { announce, printEstimate } from './estimate.js';
import { type ImageOptions, imageInput } from './image-input.js';
import { Progress } from './progress.js';
import { provenance } from './provenance.js';
import { checkBesideInput, continueStream, type OutputOptions } from './tensor-output.js';

export interface ImageJob {
  /** Name of the verb, for the progress. */
  name: string;
  /** The `repa.kind` of the stream. */
  kind: string;
  /** Side of the square that each image is cropped to. */
  size: number;
  columns: readonly TensorColumn[];
  /** The engine that computes it, if not the selected backend. */
  engine?: string | undefined;
  /** Header entries beyond those that all streams have. */
  metadata: Record<string, string | undefined>;
  /** The tensors of at most `batchSize` crops, by column: [N, ...shape], or more rows than images. */
  compute(crops: readonly RgbImage[]): Record<string, Float32Array>;
}

export interface ImageJobOptions extends ImageOptions, OutputOptions {
  batchSize: number;
  quiet?: true;
  /** Whether to tell only how long the job takes and how much it writes. */
  dryRun?: true;
}

/** The most numbers in a batch of images: an array holds fewer than twice as many. */
const MOST_NUMBERS = 2 ** 31;

/** @throws UsageError when a batch of square images of this side is more than can be computed at once */
export function checkSize(size: number, batchSize: number): void {
  if (batchSize * 3 * size * size <= MOST_NUMBERS) return;
  throw new UsageError(
    `--size ${size}: ${batchSize} images of that size are ${(batchSize * 3 * size * size).toExponential(0)} numbers`,
    'Take a smaller --size or --batch-size.',
  );
}

/** The tensors of one image, by column. */
interface ComputedRow {
  key: string;
  label: number;
  tensors: Record<string, Float32Array>;
}

/** The rows of images in their order; `done` is called with the size of each batch. */
async function* computedRows(
  images: ImageInput['images'],
  { batchSize }: ImageJobOptions,
  { columns, compute }: ImageJob,
  done: (count: number) => void,
): AsyncGenerator<ComputedRow> {
  for await (const batch of inBatches(images, batchSize)) {
    const computed = compute(batch.map(({ image }) => image));
    for (const [row, { key, label }] of batch.entries()) {
      const tensors = columns.map(({ name, shape }) => {
        const length = sizeOf(shape);
        const values = computed[name].subarray(row * length, (row + 1) * length);
        if (firstNonFinite(values) >= 0) throw notFinite(key, name);
        return [name, values];
      });
      yield { key, label, tensors: Object.fromEntries(tensors) };
    }
    done(batch.length);
  }
}

/** Runs a job over images and hands each row to `use`; writes no stream. */
export async function overImages(
  input: string,
  options: ImageJobOptions,
  job: ImageJob,
  use: (tensors: Record<string, Float32Array>) => void,
): Promise<void> {
  const source = await imageInput(input, job.size, options);
  const progress = new Progress(job.name, { unit: 'images', total: source.total, quiet: options.quiet });
  for await (const { tensors } of computedRows(source.images, options, job, (count) => progress.advance(count)))
    use(tensors);
  progress.finish();
}

const bytesOfRow = (columns: readonly TensorColumn[]): number =>
  columns.reduce((sum, column) => sum + rowBytes(column), 0);

/** Runs a job over a folder, an archive or a stream of images, and writes one stream. */
export async function runImageJob(input: string, options: ImageJobOptions, job: ImageJob): Promise<void> {
  const { name, kind, size, columns } = job;
  checkBesideInput(options, input);
  const source = await imageInput(input, size, options);
  if (options.dryRun) return estimate(source, options, job);
  const reference = input === '-' ? source.metadata['repa.reference'] : portablePath(input);
  const classes = source.metadata['repa.classes'];
  const metadata = provenance(kind, {
    ...job.metadata,
    'repa.engine': job.engine ?? engineEntry(),
    'repa.images.sha256': source.names,
    'repa.classes': classes,
    'repa.reference': reference,
  });
  const { total } = source;
  const progress = new Progress(name, { unit: 'images', total, batch: options.batchSize, quiet: options.quiet });
  const stored = withScales(columns);
  const written = await continueStream(options, { columns: stored, metadata }, async (writer) => {
    const output = `${columns.map(showColumn).join(', ')} of each`;
    const bytes = total === undefined ? undefined : total * bytesOfRow(stored);
    announce(progress, { unit: 'images', total, bytes, output, out: options.out ?? '-' });
    const rows = computedRows(source.images, options, job, (count) => progress.advance(count));
    for await (const { key, label, tensors } of rows) await writer.append(key, label, tensors);
  });
  if (written) progress.finish();
  else progress.say(`${options.out}: this part is finished already`);
}

/** Measures two batches, of which the second counts, as the first compiles; a set of one batch is measured whole. */
async function estimate(source: ImageInput, options: ImageJobOptions, job: ImageJob): Promise<void> {
  let [count, seconds, batches, keyBytes] = [0, 0, 0, 0];
  let started = performance.now();
  const rows = computedRows(source.images, options, job, (done) => {
    const now = performance.now();
    [count, seconds, batches] = [done, (now - started) / 1000 / done, batches + 1];
    started = now;
  });
  for await (const { key } of rows) {
    keyBytes = Math.max(keyBytes, Buffer.byteLength(key));
    if (batches === 2) break;
  }
  if (batches === 0) throw new DataError('the input holds no image that can be read');
  const bytes = bytesOfRow(withScales(job.columns)) + keyBytes + 8;
  printEstimate({
    unit: 'images',
    total: source.total,
    seconds,
    measured: batches === 1 ? `${count} images, with compilation` : `batch 2, of ${count} images`,
    bytes: source.total === undefined ? undefined : source.total * bytes,
    output: `${bytes} bytes an image`,
    out: options.out ?? '-',
  });
}

const notFinite = (key: string, column: string): DataError =>
  new DataError(
    `'${column}' of '${key}' comes out as NaN or infinity`,
    'The weights are damaged: repa info shows them.',
  );
