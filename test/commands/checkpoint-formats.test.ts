/** Checkpoints of every format that was ever written are continued, sampled and exported. */
import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { readCheckpointRecord } from '../../src/lib/training/checkpoint.js';
import { fixturePath } from '../support.js';
import { repa } from './binary.js';
import { type Entry, numbers, parseLog, prepared } from './training-run.js';

const FORMATS = ['checkpoint-1', 'checkpoint-2'];

for (const format of FORMATS) {
  for (const run of readdirSync(fixturePath(format))) {
    test(`${format}, ${run}: goes on with the numbers of the version that wrote it, is sampled, looked into and exported`, async (t) => {
      const cwd = await prepared(t);
      cpSync(fixturePath(`${format}/${run}/step-0000002`), path.join(cwd, 'ckpt/step-0000002'), { recursive: true });
      const recorded = JSON.parse(readFileSync(fixturePath(`${format}/${run}/run.json`), 'utf8'));
      const told = async (...args: string[]): Promise<string> => {
        const { code, stdout, stderr } = await repa(args, { cwd });
        assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
        return stdout.toString();
      };
      const log = parseLog(await told('train', ...recorded.arguments, '--steps', '4'));
      const expected: Entry[] = recorded.log.slice(2);
      const seen = numbers(log).map(({ log: _, ...entry }) => entry); // the version of lines, which these did not bear
      assert.deepEqual(
        seen.map((entry) => Object.keys(entry)),
        expected.map((entry) => Object.keys(entry)),
      );
      for (const [i, entry] of seen.entries()) {
        for (const [name, value] of Object.entries(entry)) {
          assert.ok(Math.abs(value - expected[i][name]) <= 1e-5, `${name} of step ${entry.step}: ${value}`);
        }
      }
      await told('sample', '--ckpt', 'ckpt/step-0000002', '--num', '2', '--steps', '2', '-o', 'samples');
      await told('extract-hidden', '--ckpt', 'ckpt/step-0000002', '--num', '2', '-o', 'hidden');
      await told('export', 'ckpt/step-0000002', '-o', 'weights.safetensors');
      const [before, after] = ['step-0000002', 'step-0000004'].map((step) => {
        const { step: _, images: __, ...record } = readCheckpointRecord(path.join(cwd, 'ckpt', step));
        return { ...record, data: undefined };
      });
      assert.deepEqual(after, before);
    });
  }
}
