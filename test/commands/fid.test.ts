import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import sharp from 'sharp';
import { openNpz, writeNpz } from '../../src/lib/formats/npz.js';
import { listImages } from '../../src/lib/images/list.js';
import { writeWeights } from '../fixture-weights.js';
import { formulaWeights, mix } from '../inception-weights.js';
import { temporaryFolder } from '../support.js';
import { repa } from './binary.js';

const COUNT = 32;
const SIDE = 64;

/** What test/interop/fid_oracle.py prints for the sets that `makeStripes` makes and the weights of `formulaWeights`. */
const ORACLE = {
  adm: {
    FD: 8.534531805689468,
    sFD: 236.16989863654936,
    IS: 1.0036528082567076,
    precision: [0.625],
    recall: [0.84375],
    KD: 0.053338926981560064,
  },
  'pytorch-fid': {
    FD: 8.602214686098932,
    sFD: 236.35530847955442,
    IS: 1.0036860760471085,
    precision: [0.625],
    recall: [0.84375],
    KD: 0.05215477164939131,
  },
  clean: {
    FD: 10.013222880890108,
    sFD: 256.9049443061712,
    IS: 1.0038899641950807,
    precision: [0.6875, 0.71875], // one of 32 samples lies on the edge of a ball, within 2e-4
    recall: [0.84375],
    KD: 0.0823788774463452,
  },
};

/** Slanted stripes, of another slant and brightness in each image and channel. */
async function makeStripes(folder: string, first: number, steps: number): Promise<void> {
  mkdirSync(folder);
  for (let i = 0; i < COUNT; i++) {
    const data = Buffer.alloc(SIDE * SIDE * 3);
    for (let at = 0; at < data.length; at++) {
      const [x, y, channel] = [Math.floor(at / 3) % SIDE, Math.floor(at / (3 * SIDE)), at % 3];
      const hash = mix(3 * (first + i) + channel);
      const [slant, rise, offset] = [1 + (hash % steps), 1 + ((hash >>> 8) % steps), (hash >>> 16) & 255];
      data[at] = x * slant + y * rise + offset + ((x * y) >> 4);
    }
    const image = sharp(data, { raw: { width: SIDE, height: SIDE, channels: 3 } });
    await image.png().toFile(path.join(folder, `${String(i).padStart(2, '0')}.png`));
  }
}

const cwd = temporaryFolder();

before(async () => {
  await makeStripes(path.join(cwd, 'samples'), 0, 7);
  await makeStripes(path.join(cwd, 'reference'), 1000, 9);
  writeWeights(path.join(cwd, 'inception.safetensors'), formulaWeights());
});

const SUITE = ['--metrics', 'fid,sfid,is,pr,kid', '--kid-subsets', '1', '--kid-subset-size', String(COUNT)];
const INCEPTION = ['--weights', 'inception.safetensors', '--batch-size', '4'];

/** The numbers by name; the network's, `FD(inception.safetensors)`, without it. */
async function measured(images: string, reference: string, args: string[]): Promise<Record<string, number>> {
  const { code, stdout, stderr } = await repa(['fid', images, reference, ...INCEPTION, ...args, '--json'], { cwd });
  assert.equal(code, 0, stderr);
  assert.match(stderr, /not the file of the published Inception weights/);
  const results = stdout.toString().trim().split('\n');
  return Object.fromEntries(
    results.map((line) => {
      const { metric, value } = JSON.parse(line);
      return [metric.replace('(inception.safetensors)', ''), value];
    }),
  );
}

function compare(numbers: Record<string, number>, oracle: Record<string, number | number[]>): void {
  for (const [name, expected] of Object.entries(oracle)) {
    if (Array.isArray(expected)) {
      assert.ok(expected.includes(numbers[name]), `${name}: ${numbers[name]} for ${expected}`);
      continue;
    }
    // A score of 1 says nothing: what counts is how far above it is.
    const [value, wanted] = name === 'IS' ? [numbers[name] - 1, expected - 1] : [numbers[name], expected];
    assert.ok(Math.abs(value / wanted - 1) < 1e-3, `${name}: ${value} for ${wanted}`);
  }
}

for (const resize of ['adm', 'pytorch-fid', 'clean'] as const) {
  test(`FID, sFID, IS, precision, recall and KID as '${resize}' resizes are those of an independent program`, async () => {
    const numbers = await measured('samples', 'reference', [...SUITE, '--resize', resize]);
    assert.deepEqual(Object.keys(numbers).sort(), Object.keys(ORACLE[resize]).sort());
    compare(numbers, ORACLE[resize]);
  });
}

test("of an .npz of samples against ADM's and pytorch-fid's references, the numbers are the same", async () => {
  for (const name of ['samples', 'reference']) {
    const pixels: Buffer[] = [];
    for (const { path: file } of listImages(path.join(cwd, name))) pixels.push(await sharp(file).raw().toBuffer());
    const images = {
      shape: [COUNT, SIDE, SIDE, 3],
      dtype: 'u8' as const,
      data: Uint8Array.from(Buffer.concat(pixels)),
    };
    const saved = await repa(['fid', name, ...INCEPTION, '--save-stats', 'saved.npz'], { cwd });
    assert.equal(saved.code, 0, saved.stderr);
    const archive = openNpz(path.join(cwd, 'saved.npz'));
    const statistics = (names: string[]) => names.map((each) => [each, archive.read(each)] as const);
    await writeNpz(path.join(cwd, `${name}.npz`), [['arr_0', images]]);
    const all = statistics(['mu', 'sigma', 'mu_s', 'sigma_s']);
    await writeNpz(path.join(cwd, `adm-${name}.npz`), [['arr_0', images], ...all]);
    await writeNpz(path.join(cwd, `pytorch-${name}.npz`), statistics(['mu', 'sigma']));
    archive.close();
  }
  compare(await measured('samples.npz', 'adm-reference.npz', SUITE), ORACLE.adm);
  const { FD } = ORACLE.adm;
  compare(await measured('samples.npz', 'pytorch-reference.npz', []), { FD });
  compare(await measured('pytorch-samples.npz', 'reference.npz', []), { FD });
});
