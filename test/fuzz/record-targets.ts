/** Records of ours and of others, as JSON, TOML, CSV and lines. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { verbs } from '../../src/commands/index.js';
import { configSources, readConfig } from '../../src/lib/cli/config.js';
import { exportLogTable } from '../../src/lib/exchange/export-log.js';
import { pictureSet } from '../../src/lib/images/picture-set.js';
import { entriesOf } from '../../src/lib/options/table.js';
import { readEntries, readPoints } from '../../src/lib/plots/run-points.js';
import { networkParameters } from '../../src/lib/repa/network.js';
import { RunFolder } from '../../src/lib/runs/run-folder.js';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import { fixturePath } from '../support.js';
import { jsonMutant } from './json-mutant.js';
import { mutant, pick, type Random, TEXTUAL } from './mutate.js';
import { type Reader, type Store, type Target, target } from './target.js';

/** The shapes of all parameters, as who samples or trains on takes them. */
function checkpoint(folder: string): Reader {
  mkdirSync(folder);
  return async (file) => {
    writeFileSync(path.join(folder, 'config.json'), readFileSync(file));
    const record = readCheckpointRecord(folder);
    const shapes = [...networkParameters(record)].map(([name, { shape }]) => `${name} ${shape}`);
    return `${JSON.stringify(record)}${shapes.join()}`;
  };
}

const TRAIN = verbs.find(({ name }) => name === 'train')!;

/** Every value that a file gives `train`. */
async function config(file: string): Promise<string> {
  const found = await readConfig(
    file,
    verbs.map(({ name }) => name),
  );
  const { options } = await TRAIN.load();
  const sources = await configSources(found!, { name: 'train', options }, async () => [options]);
  const values = entriesOf(options).flatMap(({ option }) => sources.map((source) => source.value(option)));
  return JSON.stringify(values);
}

const PICTURES = ['a/0.png', 'a/1.png', 'b/2.png'];

/** Keys and classes of three pictures beside a file of this name. */
const labels =
  (name: string): Reader =>
  async (file) => {
    const bytes = readFileSync(file);
    const { pictures, classes } = pictureSet({
      names: [...PICTURES, name].sort(),
      read: () => bytes,
      show: (shown) => shown,
    });
    return JSON.stringify([pictures, classes]);
  };

/** What plots, pages and tables take of a log. */
function log(folder: string): Reader {
  const run = path.join(folder, 'run');
  mkdirSync(run);
  const table = path.join(folder, 'table.csv');
  return async (file) => {
    writeFileSync(path.join(run, 'log.ndjson'), readFileSync(file));
    const where = path.join(run, 'log.ndjson');
    const lines = readEntries(where);
    const points = (['step', 'seconds', 'images'] as const).map((axis) =>
      readPoints({ path: where, name: 'run', lines, batchSize: 4 }, ['loss'], axis),
    );
    new RunFolder(run).changes((picture) => picture);
    exportLogTable(run, table);
    return JSON.stringify(points) + readFileSync(table, 'utf8');
  };
}

/** Half of the changes leave JSON. */
const ofJson = (good: readonly string[]) => (random: Random) =>
  random() < 0.6 ? jsonMutant(pick(random, good), random) : mutant(Buffer.from(pick(random, good)), random, TEXTUAL);

const inLines =
  (good: readonly string[]) =>
  (random: Random): Buffer => {
    if (random() < 0.4) return mutant(Buffer.from(`${good.join('\n')}\n`), random, TEXTUAL);
    const lines: (string | Buffer)[] = [...good];
    const at = Math.floor(random() * lines.length);
    lines[at] = jsonMutant(good[at], random);
    return Buffer.from(`${lines.join('\n')}\n`);
  };

const TOML = `seed = 3
batch_size = 4
[train]
model = "SiT-S/4"
steps = 20
ema = [0.9, 0.99]
lambda = 0.5
out = "ckpt"
[sample]
cfg = 1.5
`;

const LOG = [1, 2, 3].map((step) =>
  JSON.stringify({ step, epoch: 0, loss: 1 / step, gradient_norm: 1, seconds: 0.5, learning_rate: 1e-4 }),
);
LOG.push(JSON.stringify({ step: 3, evaluation: 'held-out', loss: 0.5, protocol: { images: 4, names: ['a'] } }));

const DATASET = JSON.stringify({ labels: PICTURES.map((name, i) => [name, i]) });
const METADATA = PICTURES.map((name, i) => JSON.stringify({ file_name: name, label: ['cat', 'dog', 3][i], text: 'x' }));
const CSV = `file_name,label,text\na/0.png,1,"a ""quoted"", one"\na/1.png,0,b\nb/2.png,2,\n`;

export async function recordTargets(folder: string, store: Store): Promise<Target[]> {
  const configs = ['checkpoint-1/repa', 'checkpoint-1/followups', 'checkpoint-1/dit'].map((run) =>
    readFileSync(fixturePath(`${run}/step-0000002/config.json`), 'utf8'),
  );
  const text = (each: string): Buffer => Buffer.from(each);
  return [
    await target(
      'config.json',
      false,
      configs.map(text),
      checkpoint(path.join(folder, 'step')),
      store,
      ofJson(configs),
    ),
    await target('repa.toml', false, [text(TOML)], config, store),
    await target('dataset.json', false, [text(DATASET)], labels('dataset.json'), store, ofJson([DATASET])),
    await target(
      'metadata.jsonl',
      false,
      [text(METADATA.join('\n'))],
      labels('metadata.jsonl'),
      store,
      inLines(METADATA),
    ),
    await target('metadata.csv', false, [text(CSV)], labels('metadata.csv'), store),
    await target('log.ndjson', false, [text(`${LOG.join('\n')}\n`)], log(folder), store, inLines(LOG)),
  ];
}
