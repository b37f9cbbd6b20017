import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/lib/errors.js';
import * as option from '../../../src/lib/options/option.js';
import { readValue } from '../../../src/lib/options/option.js';
import { inUse, refuseFor, resolve, type Source, written } from '../../../src/lib/options/resolve.js';
import { entriesOf, options, pick, prefixed, type Values } from '../../../src/lib/options/table.js';

const table = options({
  steps: option.integer('--steps <n>', 'steps', { min: 1, default: 50 }),
  raw: option.flag('--raw', 'weights themselves', { conflicts: ['ema'] }),
  ema: option.number('--ema <decay>', 'decay', { min: 0, max: 1 }),
  cache: option.off('--no-cache', 'no cache'),
  mode: option.choice('--mode <name>', 'sampler', ['ode', 'sde'], { default: 'ode' }),
  feats: option.list('--feats <paths>', 'features', String, { default: ['feats'] }),
  layerSync: {
    weight: option.number('--layer-sync <w>', 'weight', { min: 0, default: 0 }),
    blocks: option.blockPair('--layer-sync-blocks <pair>', 'which', { needs: 'weight' }),
  },
  direction: option.number('--direction <w>', 'weight', { min: 0, default: 0, onlyFor: 'SiT' }),
});

const source = (values: Record<string, unknown>, name = ''): Source =>
  written(name, (key) => (key in values ? { value: values[key], where: name || key } : undefined));

test('values have the type that their option declares, at any depth', () => {
  const { values } = resolve(table, [source({ 'layer-sync': 0.2, 'layer-sync-blocks': '8,16', raw: true })]);
  const typed: Values<typeof table> = values;
  const steps: number = typed.steps;
  const raw: true | undefined = typed.raw;
  const ema: number | undefined = typed.ema;
  const mode: 'ode' | 'sde' = typed.mode;
  const feats: string[] = typed.feats;
  const blocks: [number, number] | undefined = typed.layerSync.blocks;
  assert.deepEqual(
    { steps, raw, ema, mode, feats, blocks, cache: typed.cache, weight: typed.layerSync.weight },
    { steps: 50, raw: true, ema: undefined, mode: 'ode', feats: ['feats'], blocks: [8, 16], cache: true, weight: 0.2 },
  );
});

test('the first source that says a value decides; nothing counts as not said', () => {
  const { values, sources } = resolve(table, [
    source({ steps: '', mode: 'sde' }),
    source({ steps: '7', mode: 'ode' }, 'REPA'),
    source({ steps: 9, ema: 0.5, cache: false, feats: ['a', 'b'] }, 'repa.toml'),
  ]);
  assert.equal(values.steps, 7);
  assert.equal(values.mode, 'sde');
  assert.equal(values.cache, false);
  assert.deepEqual(values.feats, ['a', 'b']);
  assert.equal(sources.get('steps')?.name, 'REPA');
  assert.equal(sources.get('ema')?.name, 'repa.toml');
  assert.equal(sources.has('raw'), false);
});

test('a preset fills what no source says', () => {
  const preset = (values: Values<typeof table>) => (values.mode === 'sde' ? { steps: 250, ema: 0.9 } : undefined);
  assert.equal(resolve(table, [source({ mode: 'sde' })], preset).values.steps, 250);
  assert.equal(resolve(table, [source({ mode: 'sde', steps: 3 })], preset).values.steps, 3);
  assert.equal(resolve(table, [source({})], preset).values.steps, 50);
  assert.equal(resolve(table, [source({ mode: 'sde', raw: true })], preset).values.ema, undefined, 'displaced');
});

test('options that exclude each other are refused from one source, and displaced by a stronger one', () => {
  assert.throws(() => resolve(table, [source({ raw: true, ema: 0.99 })]), /'--raw' cannot be used with .*'--ema/);
  assert.throws(
    () => resolve(table, [source({}), source({ raw: true, ema: 0.99 }, 'repa.toml')]),
    /'--raw' \(repa.toml\) cannot be used with option '--ema <decay>' \(repa.toml\)/,
  );
  const { values } = resolve(table, [source({ ema: 0.99 }), source({ raw: true }, 'repa.toml')]);
  assert.deepEqual([values.raw, values.ema], [undefined, 0.99]);
  assert.equal(resolve(table, [source({ raw: false, ema: 0.99 })]).values.ema, 0.99);
});

test('an option that would do nothing is refused, whatever source it came from', () => {
  assert.throws(
    () => resolve(table, [source({ 'layer-sync-blocks': '8,16' }, 'repa.toml')]),
    /^UsageError: --layer-sync-blocks does nothing without --layer-sync$/,
  );
  const conditional = options({
    cfg: option.number('--cfg <w>', 'guidance', { default: 1 }),
    guide: option.text('--guide <path>', 'guide', {
      needs: { words: 'a --cfg above 1', holds: ({ cfg }: { cfg: number }) => cfg > 1 },
    }),
    lambda: option.number('--lambda <w>', 'weight', { default: 0.5 }),
    fusion: option.flag('--fusion', 'fusion'),
    kind: option.choice('--kind <name>', 'kind', ['mlp', 'conv'], { default: 'mlp', needs: ['--lambda', 'fusion'] }),
  });
  assert.throws(() => resolve(conditional, [source({ guide: 'x' })]), /--guide does nothing without a --cfg above 1/);
  assert.equal(resolve(conditional, [source({ guide: 'x', cfg: 2 })]).values.guide, 'x');
  assert.throws(
    () => resolve(conditional, [source({ kind: 'conv', lambda: 0 })]),
    /--kind conv does nothing without --lambda or --fusion/,
  );
  assert.equal(resolve(conditional, [source({ kind: 'conv', lambda: 0, fusion: true })]).values.kind, 'conv');
  assert.equal(
    resolve(conditional, [source({ kind: 'mlp', lambda: 0 })]).values.kind,
    'mlp',
    'the default asks for nothing',
  );
});

test('what a source says to many verbs is passed over where it would do nothing', () => {
  const shared = { ...source({ 'layer-sync-blocks': '8,16', steps: 3 }, 'repa.toml'), isShared: true };
  const { values, sources } = resolve(table, [shared]);
  assert.deepEqual([values.layerSync.blocks, values.steps, sources.has('layer-sync-blocks')], [undefined, 3, false]);
  assert.deepEqual(resolve(table, [source({ 'layer-sync': 1 }), shared]).values.layerSync.blocks, [8, 16]);
});

test('a bound may leave its own value out', () => {
  const beta = option.number('--beta2 <b>', 'decay', { min: 0, below: 1 });
  const clip = option.number('--clip <norm>', 'norm', { above: 0 });
  assert.equal(readValue(beta, 0, 'here'), 0);
  assert.throws(() => readValue(beta, 1, 'here'), /here: It takes a number below 1\./);
  assert.throws(() => readValue(clip, 0, 'here'), /here: It takes a number above 0\./);
  assert.throws(() => readValue(clip, -1, 'here'), /above 0/);
});

test('a required option may come from any source', () => {
  const required = options({ out: option.text('-o, --out <path>', 'where', { required: true }) });
  assert.throws(() => resolve(required, [source({ out: '' })]), /required option '-o, --out <path>' not specified/);
  const out: string = resolve(required, [source({}), source({ out: 'x.png' })]).values.out;
  assert.equal(out, 'x.png');
});

test('options of another kind of model are refused together', () => {
  const { values } = resolve(table, [source({ direction: 1 })]);
  refuseFor(table, values, 'SiT', 'never said');
  assert.throws(() => refuseFor(table, values, 'DiT', 'for a SiT'), /^UsageError: --direction: for a SiT$/);
  assert.deepEqual(
    inUse(table, values).map(({ long }) => long),
    ['--direction'],
  );
});

test('a prefix renames the flags of a table and keeps its keys', () => {
  const sampler = pick(table, 'steps', 'mode', 'cache');
  const train = options({
    every: option.integer('--eval-every <n>', 'when'),
    eval: prefixed('eval', sampler, { needs: '--eval-every' }),
  });
  assert.deepEqual(
    entriesOf(train).map(({ option }) => [option.flags, option.name]),
    [
      ['--eval-every <n>', 'eval-every'],
      ['--eval-steps <n>', 'eval-steps'],
      ['--eval-mode <name>', 'eval-mode'],
      ['--no-eval-cache', 'eval-cache'],
    ],
  );
  assert.throws(() => resolve(train, [source({ 'eval-steps': 3 })]), /--eval-steps does nothing without --eval-every/);
  assert.equal(resolve(train, [source({ 'eval-steps': 3, 'eval-every': 9 })]).values.eval.steps, 3);
});

test('a value of any wrong shape is an error that names its place and what it takes', () => {
  const { steps, raw, mode, feats, ema } = table;
  const wrong: [option.Option, unknown, RegExp][] = [
    [steps, 0, /^here: It takes a whole number of at least 1\.$/],
    [steps, 1.5, /whole number/],
    [steps, '+3', /whole number/],
    [steps, true, /it takes a value \(--steps <n>\), not true/],
    [steps, {}, /not a table/],
    [steps, new Date(0), /not a date/],
    [steps, [[1]], /not a list in a list/],
    [steps, [{}], /not a table/],
    [ema, Number.NaN, /a number from 0 to 1/],
    [ema, Number.POSITIVE_INFINITY, /a number from 0 to 1/],
    [raw, 'maybe', /true or false/],
    [raw, 2, /true or false/],
    [raw, {}, /it takes true or false, not a table/],
    [mode, 'odd', /Allowed choices are ode, sde/],
    [feats, [1, {}], /not a table/],
    [feats, false, /a list, or a value .*, not false/],
    [steps, null, /not a table/],
  ];
  for (const [option, value, message] of wrong) {
    assert.throws(
      () => readValue(option, value, 'here'),
      (error) => error instanceof UsageError && message.test(error.message),
      `${option.long} ${JSON.stringify(value)}`,
    );
  }
  assert.deepEqual(readValue(feats, 'a, b', 'here'), ['a', 'b']);
  assert.deepEqual(readValue(feats, ['a,b'], 'here'), ['a,b'], 'an item of a list may hold a comma');
  assert.equal(readValue(steps, 12n, 'here'), 12);
  assert.equal(readValue(raw, '0', 'here'), false);
  assert.deepEqual(readValue(table.layerSync.blocks, [8, 16], 'here'), [8, 16]);
  assert.equal(readValue(steps, [], 'here'), undefined);
});
