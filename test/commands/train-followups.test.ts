import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openTensorStream } from '../../src/lib/stream/reader.js';
import { repa } from './binary.js';
import { refusalOf, runIn } from './in-process.js';
import { type Entry, numbers, parseLog, prepared, RUN } from './training-run.js';

/** Trains here, in a folder: what it prints goes among the results of the tests, and its log is read. */
const trained = async (cwd: string, ...args: string[]): Promise<Entry[]> => {
  await runIn(cwd, 'train', [...RUN, ...args]);
  const out = args.includes('--out') ? args[args.indexOf('--out') + 1] : 'ckpt';
  return parseLog(readFileSync(path.join(cwd, out, 'log.ndjson'), 'utf8'));
};
const config = async (cwd: string, ...args: string[]) => {
  const { code, stdout, stderr } = await repa(['train', ...RUN, '--print-config', ...args], { cwd });
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
  return JSON.parse(stdout.toString());
};

/** What a run says to options that it refuses as wrong use. */
const refusal = (cwd: string, args: readonly string[]): Promise<string> =>
  refusalOf(cwd, 'train', [...RUN, '--steps', '1', ...args]);

/** Options, the losses that they log, and the weight of each in the total; those of presets are in presets.test.ts. */
const FOLLOW_UPS: [name: string, args: string[], weights: Record<string, number>][] = [
  ['delta-fm', ['--contrastive', '0.05', '--lambda', '0'], { velocity_loss: 1, contrastive_loss: -0.05 }],
  [
    'delta-fm, drawn',
    ['--preset', 'delta-fm', '--contrastive-labelled'],
    { velocity_loss: 1, contrastive_loss: -0.05, projection_loss: 0.5 },
  ],
  ['direction', ['--direction', '1', '--lambda', '0'], { velocity_loss: 1, direction_loss: 1 }],
];

for (const [name, args, weights] of FOLLOW_UPS) {
  test(`${name}: the log holds its terms, whose weighted sum is the loss`, async (t) => {
    const cwd = await prepared(t);
    for (const entry of await trained(cwd, ...args, '--steps', '2')) {
      assert.deepEqual(
        Object.keys(entry).filter((field) => field.endsWith('_loss')),
        Object.keys(weights),
      );
      const sum = Object.entries(weights).reduce((total, [field, weight]) => total + weight * entry[field], 0);
      assert.ok(Math.abs(entry.loss - sum) < 1e-5);
    }
  });
}

/** Presets whose networks differ, and what a small one needs besides. */
const RESUMED: Record<string, string[]> = {
  irepa: [],
  sra: [],
  'self-flow': [],
  redi: ['--representation-channels', '3', '--lambda', '0.5'],
  sprint: ['--depth', '5', '--align-depth', '3', '--path-drop', '0.5'],
  'sr-dit': ['--depth', '5', '--path-drop', '0.5'],
};

for (const [preset, more] of Object.entries(RESUMED)) {
  test(`${preset}: a run resumes bit for bit; it is sampled, and its blocks looked into`, async (t) => {
    const cwd = await prepared(t);
    const run = ['--preset', preset, ...more];
    const whole = await trained(cwd, ...run, '--steps', '6', '--out', 'whole');
    for (const steps of ['2', '6']) await trained(cwd, ...run, '--steps', steps, '--out', 'parts');
    const log = parseLog(readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8'));
    assert.deepEqual(numbers(log), numbers(whole));
    const sampling = ['--ckpt', 'whole', '--num', '2', '--steps', '2', '--cfg', '2'];
    await runIn(cwd, 'sample', [...sampling, '-o', 'out']);
    const dropping = [...sampling, '--path-drop-guidance', '--latents', '-o', 'dropped'];
    if (run.includes('--path-drop')) {
      await runIn(cwd, 'sample', dropping);
      const { metadata } = (await openTensorStream(path.join(cwd, 'dropped'))).schema;
      assert.match(metadata['repa.sampler'], /path_drop_guidance/);
    } else {
      const refused = await refusalOf(cwd, 'sample', dropping);
      assert.match(refused, /no middle blocks that can be left out.*--preset sprint/s);
    }
    await runIn(cwd, 'extract-hidden', ['--ckpt', 'whole', '--pool', 'none', '-o', 'hidden']);
    const [{ name, shape }] = (await openTensorStream(path.join(cwd, 'hidden'))).schema.columns;
    assert.deepEqual([name, shape], ['hidden', [16, 32]]); // of the patches alone
  });
}

test('what is generated with the image needs features that hold it', async (t) => {
  const cwd = await prepared(t);
  const cases: [string[], RegExp][] = [
    [['--preset', 'reg', '--feats', 'plain'], /plain: has no class tokens.*--cls/s],
    [['--preset', 'reg', '--feats', 'narrow'], /narrow: class tokens of \[6\], but features of width 8/],
    [['--preset', 'redi', '--representation-channels', '9'], /vary in 8 directions, not in 9/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await repa(['train', ...RUN, '--steps', '1', ...args], { cwd });
    assert.equal(code, 65, stderr);
    assert.match(stderr, message);
  }
});

test('HASTE: after its step features are no longer followed, and a resumed run knows', async (t) => {
  const cwd = await prepared(t);
  const whole = await trained(cwd, '--align-until', '3', '--steps', '6', '--out', 'whole');
  assert.deepEqual(
    whole.map((entry) => 'projection_loss' in entry),
    [true, true, true, false, false, false],
  );
  for (const steps of ['2', '4', '6']) await trained(cwd, '--align-until', '3', '--steps', steps, '--out', 'parts');
  const log = parseLog(readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8'));
  assert.deepEqual(numbers(log), numbers(whole));
});

test('weights of terms change over the steps, and a resumed run knows', async (t) => {
  const cwd = await prepared(t);
  const scheduled = ['--term-schedule', 'projection:warmup:4,projection:cosine:4-6'];
  const whole = await trained(cwd, ...scheduled, '--steps', '6', '--out', 'whole');
  const factors = [0.25, 0.5, 0.75, 1, 0.5, 0];
  for (const [i, { loss, velocity_loss, projection_loss }] of whole.entries()) {
    const sum = velocity_loss + 0.5 * factors[i] * projection_loss;
    assert.ok(Math.abs(loss - sum) < 1e-5, `step ${i + 1}: ${loss}, expected ${sum}`);
  }
  for (const steps of ['3', '6']) await trained(cwd, ...scheduled, '--steps', steps, '--out', 'parts');
  const log = parseLog(readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8'));
  assert.deepEqual(numbers(log), numbers(whole));
});

test('a preset sets what neither the command line nor a configuration does', async (t) => {
  const cwd = await prepared(t);
  const irepa = await config(cwd, '--preset', 'irepa');
  const seen = ({ methods }: { methods: Record<string, Record<string, unknown>> }) => [
    methods.repa.lambda,
    methods.irepa.spatialNorm,
    methods.irepa.projector,
  ];
  assert.deepEqual(seen(irepa), [1, 1, 'conv']);
  const command = await config(cwd, '--preset', 'irepa', '--projector-kernel', '1', '--spatial-norm', '0.6');
  assert.deepEqual(command.methods.irepa, { projector: 'conv', kernel: 1, spatialNorm: 0.6 });
  const chosen = await config(cwd, '--preset', 'irepa', '--lambda', '0.5', '--projector', 'mlp');
  assert.deepEqual(seen(chosen), [0.5, 1, 'mlp']);
  const known = await repa(['train', '--preset', 'rae-2', '--latents', 'nowhere', '--print-config'], { cwd });
  assert.match(known.stderr, /note: nowhere: not here: what follows from the data .* is left out/);
  const { width, 'condition-tokens': tokens, internal } = JSON.parse(known.stdout.toString()).options;
  assert.deepEqual([width, tokens, internal], [1440, { time: 4, label: 8 }, 1]);
  writeFileSync(path.join(cwd, 'repa.toml'), '[train]\npreset = "irepa"\nspatial-norm = 0.7\n');
  const pinned = await config(cwd);
  assert.deepEqual(seen(pinned).slice(0, 2), [1, 0.7]);
});

test('an option that would do nothing, or cannot do what it says, is refused', async (t) => {
  const cwd = await prepared(t);
  const cases: [string[], RegExp][] = [
    [['--lambda', '0', '--projector', 'conv'], /--projector conv does nothing without --lambda/],
    [['--projector-kernel', '1'], /--projector-kernel 1 does nothing without --projector conv/],
    [['--lambda', '0', '--spatial-norm', '1'], /--spatial-norm .* --lambda/],
    [['--layer-sync-blocks', '1,2'], /--layer-sync-blocks .* --layer-sync/],
    [['--layer-sync', '1', '--layer-sync-blocks', '2,2'], /earlier block follows a later one of the model's 2/],
    [['--sra', '1', '--sra-blocks', '1'], /two blocks/],
    [['--dispersive', '1', '--dispersive-block', '3'], /--dispersive-block 3: the model has blocks 1 to 2/],
    [['--contrastive', '1', '--micro-batch', '1'], /--contrastive compares the images/],
    [['--model', 'DiT-S/4', '--contrastive', '1', '--sra', '1'], /--contrastive, --sra: for a SiT/],
    [['--preset', 'rope'], /rope/],
    [
      ['--term-schedule', 'manifold:warmup:3'],
      /--term-schedule manifold: the loss has no such term, but velocity, projection/,
    ],
    [['--term-schedule', 'projection:3'], /It takes such as projection:warmup:5000/],
    [['--middle-blocks', '2,2'], /--middle-blocks .* --route or --fusion/],
    [['--route', '0.5'], /--middle-blocks 2,1: not blocks in the middle of the model's 2/],
    [
      ['--depth', '4', '--route', '0.5', '--middle-blocks', '2,3', '--layer-sync', '1'],
      /--layer-sync needs all tokens/,
    ],
    [['--path-drop', '0.1'], /--path-drop .* --fusion/],
    [['--depth', '5', '--fusion', '--route', '0.7', '--route-groups'], /0.7 of 2 x 2 or of 4 x 4 tokens/],
    [
      ['--depth', '5', '--preset', 'sprint', '--class-token', '0.03'],
      /--route-groups are squares of patches, and --class-token is none/,
    ],
    [['--self-flow', '1', '--class-token', '1'], /--self-flow .* '--class-token/],
    [['--self-flow', '1', '--prediction', 'data'], /--self-flow gives each patch a time of its own/],
    [['--self-flow', '1', '--depth', '4', '--route', '0.5'], /--self-flow needs all tokens of block 2, which --route/],
    [['--value-residual', '--wide-head', '1x32x2'], /--value-residual does not go with --wide-head/],
    [['--positions', 'none'], /--positions none without --rotary/],
    [['--qk-norm-kind', 'rms'], /--qk-norm-kind .* --qk-norm/],
    [['--representation-channels', '3'], /--representation-channels .* --representation/],
    [['--class-token', '1', '--feats', 'feats,feats'], /class token of one encoder/],
    [['--model', 'DiT-S/4', '--class-token', '1', '--time-shift', '2'], /--time-shift, --class-token: for a SiT/],
    [['--time-shift', 'fast'], /a number from 0.01 to 100, or auto/],
    [['--preset', 'jit', '--preset', 'rae'], /--preset .* It was given already, as jit/],
    [['--preset', 'jit', '--path', 'cosine'], /--prediction data is for --path linear, not cosine/],
    [['--preset', 'rae-2', '--wide-head', '1x32x2', '--context-tokens', '2'], /both put tokens of the class/],
    [['--condition-tokens', '4'], /such as 4[+]8/],
    [['--condition-tokens', '4+8'], /--condition-tokens does nothing without --wide-head/],
    [
      ['--depth', '4', '--condition-tokens', '1+1', '--wide-head', '1x32x2', '--route', '0.5'],
      /--condition-tokens .* --route would let skip blocks/,
    ],
    [['--wide-head', '1x32x2', '--class-token', '1'], /reg generates a token .* --wide-head know nothing/],
    [['--model', 'DiT-S/4', '--preset', 'rae'], /--time-embedding, --wide-head, .* for a SiT/],
  ];
  for (const [args, message] of cases) assert.match(await refusal(cwd, args), message, args.join(' '));
});
