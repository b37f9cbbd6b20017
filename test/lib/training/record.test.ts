import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { DataError, type UsageError } from '../../../src/lib/errors.js';
import { networkParameters } from '../../../src/lib/repa/network.js';
import { readCheckpointPart } from '../../../src/lib/training/checkpoint.js';
import { checkContinuation } from '../../../src/lib/training/continuation.js';
import { RECORD_FORMAT, type RunRecord, readRecord, writtenRecord } from '../../../src/lib/training/record.js';
import { fixturePath } from '../../support.js';

const FORMAT_1 = fixturePath('checkpoint-1');
const stepFolder = (run: string): string => path.join(FORMAT_1, run, 'step-0000002');
const json = (run: string): Record<string, never> =>
  JSON.parse(readFileSync(path.join(stepFolder(run), 'config.json'), 'utf8'));
const record = (run: string): RunRecord => readRecord(json(run), run);

describe('format 1', () => {
  for (const run of readdirSync(FORMAT_1)) {
    test(`${run}: is read, and its network has the parameters of its weights`, () => {
      const shapes = [...networkParameters(record(run))].map(([name, { shape }]) => [name, [...shape]]);
      const stored = [...readCheckpointPart(stepFolder(run), 'model')].map(([name, { shape }]) => [name, [...shape]]);
      assert.deepEqual(new Map(stored as [string, number[]][]), new Map(shapes as [string, number[]][]));
    });

    test(`${run}: written again it is of the newest format, and reads as the same`, () => {
      const written = writtenRecord(record(run));
      assert.equal(written.format, RECORD_FORMAT);
      assert.deepEqual(readRecord(JSON.parse(JSON.stringify(written)), run), record(run));
    });
  }

  test('methods are those whose settings said so', () => {
    assert.deepEqual(record('repa').methods, {
      repa: { lambda: 0.5, projectionLoss: 'cosine', projectorDim: 4, dims: [8] },
    });
    assert.deepEqual(record('dit').methods.irepa, { projector: 'conv', kernel: 3, spatialNorm: null });
    const { methods } = record('followups');
    assert.deepEqual(Object.keys(methods), [
      ...['repa', 'irepa', 'u-repa', 'haste', 'redi', 'reg', 'direction', 'delta-fm', 'layer-sync', 'dispersive'],
      ...['sprint', 'sra'],
    ]);
    assert.deepEqual(methods.sprint, {
      ...{ share: 0.75, groups: false, from: 3, to: 3, pathDrop: 0.05, pathDropOf: 'image', maskToken: 'learned' },
    });
  });

  test('fields that came in while the format was 1 may be absent', () => {
    const { model, training, ...others } = json('repa') as unknown as Record<string, Record<string, unknown>>;
    const first = { ...others, model: { ...model }, training: { ...training } };
    for (const name of ['norm', 'feedForward', 'rotary', 'classTokenDim', 'fusion', 'projector', 'selfAlignment']) {
      delete first.model[name];
    }
    for (const name of ['direction', 'contrastive', 'layerSync', 'route', 'pathDrop', 'timeShift', 'optimizer']) {
      delete first.training[name];
    }
    assert.deepEqual(readRecord(first, 'first'), record('repa'));
  });
});

test('format 2: every model has a null class, and the images seen are those of its steps', () => {
  const file = fixturePath('checkpoint-2/repa/step-0000002/config.json');
  const read = readRecord(JSON.parse(readFileSync(file, 'utf8')), file);
  assert.deepEqual([read.model.nullClass, read.data.labelled, read.images, read.origin], [true, null, 8, null]);
  assert.deepEqual(readRecord(JSON.parse(JSON.stringify(writtenRecord(read))), file), read);
});

describe('what is no record', () => {
  const whole = writtenRecord(record('repa')) as Record<string, Record<string, unknown>>;
  const cases: [what: string, value: unknown, message: RegExp][] = [
    ['a format of the future', { ...whole, format: 4 }, /r\.json: is of format 4, but this version reads up to 3/],
    ['a format that is no number', { ...whole, format: 'x' }, /is of format "x"/],
    [
      'an unknown method',
      { ...whole, methods: { repa: whole.methods.repa, 'x-repa': {} } },
      /methods\.x-repa is not known/,
    ],
    ['an unknown field', { ...whole, model: { ...whole.model, gates: 3 } }, /r\.json: model\.gates is not known/],
    [
      'an unknown setting of a method',
      { ...whole, methods: { repa: { ...(whole.methods.repa as object), warmth: 1 } } },
      /methods\.repa\.warmth is not known/,
    ],
    ['a missing field', { ...whole, latent: { shape: [3], scale: [1] } }, /latent\.shift is missing/],
    [
      'another type',
      { ...whole, training: { ...whole.training, seed: '7' } },
      /training\.seed: a whole number is expected, not "7"/,
    ],
    [
      'another word',
      { ...whole, training: { ...whole.training, path: 'round' } },
      /training\.path: one of linear, cosine/,
    ],
    [
      'an element',
      { ...whole, latent: { shape: [3, null], scale: [1], shift: [0] } },
      /latent\.shape\[1\]: a whole number/,
    ],
    ['a list for an object', { ...whole, data: [] }, /data: an object is expected, not a list/],
    ['a list', [], /r\.json: /],
    ['null', null, /is not the record of a run/],
    ['names of every object', { ...whole, methods: { constructor: {} } }, /methods\.constructor is not known/],
  ];
  for (const [what, value, message] of cases) {
    test(`${what} is named`, () => {
      assert.throws(
        () => readRecord(value, 'r.json'),
        (error: Error) => error instanceof DataError && message.test(error.message),
      );
    });
  }

  test('JSON of any depth ends in an error of data', () => {
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const value = JSON.parse(`{"format":2,"step":${deep}}`);
    assert.throws(() => readRecord(value, 'r.json'), DataError);
    const metadata = JSON.parse(`{"rows":1,"metadata":{"x":${deep}}}`);
    assert.throws(() => readRecord({ ...whole, data: { latents: metadata, features: [] } }, 'r.json'), DataError);
  });
});

test('a run goes on with other settings when asked, with another model never', () => {
  const saved = record('repa');
  const repa = saved.methods.repa as { lambda: number };
  const other = (methods: object): RunRecord => ({ ...saved, methods: { ...saved.methods, ...methods } });
  const go = (wanted: RunRecord, explicit: boolean) => () => checkContinuation(saved, wanted, 'ckpt', explicit);
  go(saved, false)();
  const louder = other({ repa: { ...repa, lambda: 1 } });
  assert.throws(go(louder, false), /methods\.repa\.lambda \(0\.5, now 1\)/);
  go(louder, true)();
  const stopped = other({ haste: { until: 3 } });
  assert.throws(go(stopped, false), /methods\.haste\.until \(undefined, now 3\)/);
  go(stopped, true)();
  const wider = other({ repa: { ...repa, projectorDim: 8 } });
  assert.throws(go(wider, true), /methods\.repa\.projectorDim \(4, now 8\)/);
  const deeper = { ...saved, model: { ...saved.model, depth: 3 } };
  assert.throws(go(deeper, true), /model\.depth/);
  // What --resume cannot do is not offered.
  for (const [wanted, hint] of [
    [louder, /--resume/],
    [deeper, /--init ckpt/],
  ] as const) {
    assert.throws(go(wanted, false), (error: UsageError) => hint.test(error.hint!));
  }
});

test('a run goes on with data of the same meaning, and with others when asked', () => {
  const fixture = record('repa');
  const column = { rows: fixture.data.latents.rows, metadata: { 'repa.model': 'encoder' } };
  const told = { ...fixture.data.latents, content: 'a' };
  const saved: RunRecord = { ...fixture, data: { ...fixture.data, latents: told, features: [column] } };
  const go =
    (wanted: RunRecord, explicit = false) =>
    () =>
      checkContinuation(saved, wanted, 'ckpt', explicit);
  const { latents, features } = saved.data;
  const withData = (data: Partial<RunRecord['data']>): RunRecord => ({ ...saved, data: { ...saved.data, ...data } });
  const entry = (metadata: Record<string, string>) => ({ ...latents, metadata: { ...latents.metadata, ...metadata } });
  go(withData({ features: [{ ...column, content: 'features of a checkpoint that does not tell it' }] }))();
  go(withData({ latents: entry({ 'repa.command': 'repa encode-vae elsewhere' }) }))();
  const others: [RunRecord, RegExp][] = [
    [{ ...saved, latent: { ...saved.latent, scale: [0.5] } }, /data\.latent\.scale \(.*, now \[0\.5\]\)/],
    [withData({ latents: entry({ 'repa.model.sha256': 'other' }) }), /data\.latents\.repa\.model\.sha256/],
    [withData({ latents: { ...latents, rows: latents.rows + 1 } }), /data\.latents\.rows/],
    [withData({ latents: { ...latents, content: 'b' } }), /data\.latents\.content \("a", now "b"\)/],
    [
      withData({ features: features.map((each) => ({ ...each, metadata: { 'repa.model': 'x' } })) }),
      /data\.features\.1\./,
    ],
  ];
  for (const [wanted, message] of others) {
    assert.throws(go(wanted), message);
    go(wanted, true)();
  }
  const averages = { ...saved, training: { ...saved.training, emaDecays: [0.25] } };
  assert.throws(go(averages, true), /training\.emaDecays/);
  const optimizer = saved.training.optimizer === 'muon' ? 'adamw' : 'muon';
  assert.throws(go({ ...saved, training: { ...saved.training, optimizer } }, true), /training\.optimizer/);
  const imported = { ...saved, data: { latents: { rows: 0, metadata: {} }, features: [], labelled: null } };
  checkContinuation(imported, saved, 'ckpt', false);
});
