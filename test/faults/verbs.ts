/** Verbs as commands over small inputs, which run in `run/` beside `base/`, where the inputs are. */

import { RUN } from '../commands/training-run.js';
import { fixtureWeightsFile } from '../fixture-weights.js';
import { fixturePath } from '../support.js';
import { type Input, ONE_THREAD, WEIGHTS } from './inputs.js';

/** A verb and its arguments. */
export interface VerbCase {
  readonly name: string;
  readonly args: readonly string[];
  readonly needs: readonly Input[];
}

export interface WritingVerb extends VerbCase {
  /** Files that may be there in part when it was killed; by default none. */
  readonly partial?: RegExp;
  /** What may be left out of the result when the disk refuses it: a cache. */
  readonly dispensable?: RegExp;
}

const SMALL = ['--steps', '2', ...ONE_THREAD, '-q'];
const SAMPLED = ['--ckpt', '../base/sit.safetensors', '--heads', '3', '--num', '3', '--batch-size', '2', ...SMALL];

const LOG = /(^|\/)(log\.ndjson|run\.lock)$/;
/** What a broken download leaves to be continued. */
const DOWNLOAD = /\.incomplete(\.etag|\.lock\/run\.lock)?$/;
/** What was fetched of a plugin, until all of it is there. */
const WHEELS = /(^|\/)\.wheels\//;
const CACHE = /^\.repa\/cache\//;

const TRAIN = [
  'train',
  '--latents',
  '../base/latents',
  '--feats',
  '../base/feats',
  ...RUN,
  '--steps',
  '2',
  '--depth',
  '1',
  '-q',
];

/** All that are saved stay, those too that a signal asks for. */
const EACH_STEP = ['--save-every', '1', '--keep', '9'];

export const VERBS: readonly WritingVerb[] = [
  { name: 'cat', needs: ['latents'], args: ['cat', '../base/latents', '-o', 'out'] },
  { name: 'cat-parts', needs: ['latents'], args: ['cat', '../base/latents', '-o', 'parts/'] },
  { name: 'head', needs: ['latents'], args: ['head', '-n', '3', '../base/latents', '-o', 'out'] },
  { name: 'tail', needs: ['latents'], args: ['tail', '-n', '3', '../base/latents', '-o', 'out'] },
  { name: 'select', needs: ['latents'], args: ['select', '../base/latents', '--label', '0', '-o', 'out'] },
  { name: 'shuf', needs: ['latents'], args: ['shuf', '../base/latents', '-o', 'out'] },
  {
    name: 'split',
    needs: ['latents'],
    args: ['split', '../base/latents', '--share', '0.5', '-o', 'held', '--rest', 'rest'],
  },
  { name: 'join', needs: ['latents', 'feats'], args: ['join', '../base/latents', '../base/feats', '-o', 'out'] },
  {
    name: 'encode-vae',
    needs: ['imgs'],
    args: ['encode-vae', '../base/imgs', '--vae', 'emoji-vae', '--size', '16', '-o', 'out', ...ONE_THREAD],
  },
  {
    name: 'extract-dino',
    needs: ['imgs'],
    args: ['extract-dino', '../base/imgs', '--encoder', 'emoji-vit', '-o', 'out/', ...ONE_THREAD],
  },
  { name: 'decode-vae', needs: ['latents'], args: ['decode-vae', '../base/latents', '-o', 'out', ...ONE_THREAD] },
  {
    name: 'extract-hidden',
    needs: ['ckpt'],
    args: [
      'extract-hidden',
      '--ckpt',
      '../base/ckpt',
      '--latents',
      '../base/latents',
      '--num',
      '2',
      '-o',
      'out',
    ].concat(ONE_THREAD),
  },
  { name: 'train', needs: ['latents', 'feats'], partial: LOG, args: [...TRAIN, ...EACH_STEP] },
  {
    name: 'train-keep',
    needs: ['latents', 'feats'],
    partial: LOG,
    args: [...TRAIN, '--save-every', '1', '--keep', '1'],
  },
  { name: 'sample', needs: ['sit'], args: ['sample', ...SAMPLED, '--latents', '-o', 'out'] },
  {
    name: 'sample-parts',
    needs: ['sit'],
    args: ['sample', ...SAMPLED, '--latents', '--part-size', '2', '-o', 'out/'],
  },
  {
    name: 'sample-png',
    needs: ['ckpt'],
    args: ['sample', '--ckpt', '../base/ckpt', '--num', '2', ...SMALL, '--png', 'png/', '--grid', 'grid.png'],
  },
  { name: 'export-npz', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.npz'] },
  { name: 'export-npy', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.npy'] },
  { name: 'export-parquet', needs: ['latents'], args: ['export', '../base/latents', '-o', 'out.parquet'] },
  { name: 'export-tar', needs: ['images'], args: ['export', '../base/images', '-o', 'out.tar'] },
  { name: 'export-folder', needs: ['images'], args: ['export', '../base/images', '-o', 'out/'] },
  { name: 'export-moments', needs: ['moments'], args: ['export', '../base/moments', '-o', 'out/'] },
  { name: 'export-safetensors', needs: ['ckpt'], args: ['export', '../base/ckpt', '-o', 'out.safetensors'] },
  { name: 'export-pt', needs: ['ckpt'], args: ['export', '../base/ckpt', '-o', 'out.pt'] },
  { name: 'export-events', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'tensorboard', '-o', 'out/'] },
  { name: 'export-wandb', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'wandb', '-o', 'out/'] },
  { name: 'export-mlflow', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'mlflow', '-o', 'out/'] },
  { name: 'export-csv', needs: ['ckpt'], args: ['export', '../base/ckpt', '--to', 'csv', '-o', 'out.csv'] },
  { name: 'import', needs: ['npz'], args: ['import', '../base/latents.npz', '-o', 'out'] },
  { name: 'import-images', needs: ['imgs'], args: ['import', '../base/imgs', '-o', 'out'] },
  {
    name: 'import-pt',
    needs: [],
    args: ['import', WEIGHTS, '--heads', '2', '-o', 'ckpt'],
  },
  {
    name: 'fid-cache',
    needs: ['imgs'],
    dispensable: CACHE,
    args: ['fid', '../base/imgs', '../base/imgs', '--net', 'emoji-vit', ...ONE_THREAD],
  },
  {
    name: 'fid-stats',
    needs: ['imgs'],
    args: ['fid', '../base/imgs', '--net', 'emoji-vit', '--save-stats', 'out.npz', ...ONE_THREAD],
  },
  {
    name: 'merge-stats',
    needs: ['stats'],
    args: ['merge-stats', '../base/stats.npz', '../base/stats.npz', '-o', 'out.npz'],
  },
  { name: 'plot', needs: ['ckpt'], args: ['plot', '../base/ckpt', '-o', 'out.svg'] },
  { name: 'report', needs: ['ckpt'], args: ['report', '../base/ckpt', '-o', 'out.html'] },
  { name: 'pull', needs: ['hub'], partial: DOWNLOAD, args: ['pull', 'sd-vae-ft-ema', '-q'] },
  {
    name: 'pull-plugin',
    needs: ['index'],
    partial: WHEELS,
    args: ['pull', 'xla-tpu', '-q'],
  },
  { name: 'show-grid', needs: ['images'], args: ['show', '../base/images', '--grid', 'out.png'] },
  {
    name: 'fit-statistics',
    needs: ['imgs'],
    args: [
      'encode-vae',
      '../base/imgs',
      '--vae',
      'rae:emoji-vit',
      '--fit-statistics',
      'out.safetensors',
      ...ONE_THREAD,
    ],
  },
  {
    name: 'encode-text',
    needs: ['captions'],
    args: [
      'encode-text',
      '../base/captions.json',
      '--weights',
      fixtureWeightsFile('text'),
      '--tokenizer',
      fixturePath('text'),
      '-o',
      'out',
    ].concat(ONE_THREAD),
  },
  {
    name: 'train-text',
    needs: ['latents', 'feats', 'text'],
    partial: LOG,
    args: [...TRAIN, ...EACH_STEP, '--model', 'MM-DiT/4', '--text', '../base/text'],
  },
  {
    name: 'train-init',
    needs: ['latents', 'feats', 'ckpt'],
    partial: LOG,
    args: [...TRAIN, ...EACH_STEP, '--init', '../base/ckpt'],
  },
  {
    name: 'train-eval',
    needs: ['imgs', 'latents', 'feats'],
    partial: LOG,
    dispensable: CACHE,
    args: [
      ...TRAIN,
      ...EACH_STEP,
      '--eval-every',
      '1',
      '--eval-grid',
      '4',
      '--eval-steps',
      '2',
      '--eval-num',
      '2',
    ].concat(['--eval-ref', '../base/imgs', '--eval-net', 'emoji-vit']),
  },
  {
    name: 'ema',
    needs: ['averaged'],
    args: ['ema', '../base/averaged', '--sigma-rel', '0.08', '-o', 'out', '-q'],
  },
  {
    name: 'import-safetensors',
    needs: ['sit'],
    args: ['import', '../base/sit.safetensors', '--heads', '3', '-o', 'ckpt'],
  },
  { name: 'import-parquet', needs: ['parquet'], args: ['import', '../base/latents.parquet', '-o', 'out'] },
];

/** Verbs that write to standard output. */
export const TO_STDOUT: readonly WritingVerb[] = [
  { name: 'cat', needs: ['latents'], args: ['cat', '../base/latents'] },
  { name: 'tail', needs: ['latents'], args: ['tail', '../base/latents'] },
  { name: 'import', needs: ['npz'], args: ['import', '../base/latents.npz'] },
  {
    name: 'encode-vae',
    needs: ['imgs'],
    args: ['encode-vae', '../base/imgs', '--vae', 'pixels', '--size', '16', '-q'],
  },
  { name: 'sample', needs: ['sit'], args: ['sample', ...SAMPLED, '--latents'] },
  { name: 'info', needs: ['latents'], args: ['info', '../base/latents'] },
  { name: 'diff', needs: ['latents'], args: ['diff', '../base/latents', '../base/latents'] },
  { name: 'verify', needs: ['latents'], args: ['verify', '../base/latents'] },
  { name: 'train', needs: ['latents', 'feats'], args: [...TRAIN] },
  { name: 'show', needs: ['images'], args: ['show', '../base/images'] },
  { name: 'help', needs: [], args: ['train', '--help'] },
];

/** Verbs that write nothing, but to standard output. */
export const READERS: readonly VerbCase[] = [
  { name: 'info', needs: ['latents'], args: ['info', '../base/latents'] },
  { name: 'diff', needs: ['latents'], args: ['diff', '../base/latents', '../base/latents'] },
  { name: 'verify', needs: ['latents'], args: ['verify', '../base/latents'] },
  { name: 'cknna', needs: ['feats'], args: ['cknna', '../base/feats', '../base/feats', '-k', '2', ...ONE_THREAD] },
  {
    name: 'probe',
    needs: ['feats'],
    args: ['probe', '--train', '../base/feats', '--test', '../base/feats', '-k', '2', ...ONE_THREAD],
  },
  { name: 'psnr', needs: ['imgs'], args: ['psnr', '../base/imgs', '--ref', '../base/imgs'] },
  { name: 'doctor', needs: [], args: ['doctor'] },
  { name: 'completion', needs: [], args: ['completion', 'bash'] },
];
