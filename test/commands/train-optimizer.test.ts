import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { repa } from './binary.js';
import { numbers, parseLog, prepared, RUN } from './training-run.js';

const MUON = [...RUN, '--optimizer', 'muon', '--lr', '0.01', '--weight-decay', '0.1', '--ema', '0.9,0.5'];

test('Muon learns, and resumes bit for bit with each moving average in its file', async (t) => {
  const cwd = await prepared(t);
  const whole = await repa(['train', ...MUON, '--steps', '30', '--out', 'whole'], { cwd });
  assert.equal(whole.code, 0, whole.stderr);
  const log = parseLog(whole.stdout.toString());
  assert.ok(log.at(-1)!.velocity_loss < 0.8 * log[0].velocity_loss);
  for (const steps of ['11', '30']) {
    const part = await repa(['train', ...MUON, '--steps', steps, '--out', 'parts'], { cwd });
    assert.equal(part.code, 0, part.stderr);
  }
  assert.deepEqual(numbers(parseLog(readFileSync(path.join(cwd, 'parts/log.ndjson'), 'utf8'))), numbers(log));
  const [one, other] = ['whole', 'parts'].map((out) => path.join(cwd, out, 'step-0000030'));
  const files = readdirSync(one).filter((name) => name.endsWith('.safetensors'));
  const named = ['ema-0.5', 'ema', 'model', 'optimizer'].map((name) => `${name}.safetensors`);
  assert.deepEqual(files.sort(), named);
  for (const name of files) {
    assert.deepEqual(readFileSync(path.join(other, name)), readFileSync(path.join(one, name)), name);
  }
  assert.match(
    readFileSync(path.join(one, 'optimizer.safetensors'), 'latin1'),
    /"momentum\.blocks\.0\.attn\.qkv\.weight"/,
  );
});

test('sampling takes the first moving average, or that of a decay, or none', async (t) => {
  const cwd = await prepared(t);
  assert.equal((await repa(['train', ...MUON, '--steps', '5'], { cwd })).code, 0);
  const sample = (...args: string[]) => repa(['sample', '--latents', '--num', '1', '--steps', '2', ...args], { cwd });
  const latents = async (...args: string[]): Promise<Buffer> => {
    const { code, stdout, stderr } = await sample(...args);
    assert.equal(code, 0, stderr);
    return stdout.subarray(-1000); // behind the header, which tells the command
  };
  const [first, named, second, raw] = await Promise.all([
    latents(),
    latents('--ema', '0.9'),
    latents('--ema', '0.5'),
    latents('--raw'),
  ]);
  assert.deepEqual(named, first);
  assert.notDeepEqual(second, first);
  assert.notDeepEqual(raw, second);
  const missing = await sample('--ema', '0.99');
  assert.equal(missing.code, 2);
  assert.match(missing.stderr, /moving averages of 0\.9, 0\.5/);
  assert.equal((await sample('--ema', '0.5', '--raw')).code, 2);
  assert.equal((await repa(['train', ...RUN, '--ema', '0.9,0.9', '--steps', '1'], { cwd })).code, 2);
});

test('the learning rate warms up, then falls along a cosine to 0', async (t) => {
  const cwd = await prepared(t);
  const schedule = ['--lambda', '0', '--lr-schedule', 'cosine', '--warmup', '4'];
  const { stdout } = await repa(['train', ...RUN, ...schedule, '--steps', '12'], { cwd });
  const rates = parseLog(stdout.toString()).map(({ learning_rate }) => learning_rate);
  for (const [i, rate] of rates.entries()) {
    const step = i + 1;
    const expected = step <= 4 ? (1e-3 * step) / 4 : 0.5e-3 * (1 + Math.cos((Math.PI * (step - 4)) / 8));
    assert.ok(Math.abs(rate - expected) < 1e-12, `step ${step}: ${rate}`);
  }
  const longer = await repa(['train', ...RUN, ...schedule, '--steps', '20'], { cwd });
  assert.equal(longer.code, 2);
  assert.match(longer.stderr, /training\.scheduleSteps \(12, now 20\)/);
});

test('in a line it falls from step to step as in the code of RAE, and stays at its end', async (t) => {
  const cwd = await prepared(t);
  const line = ['--lambda', '0', '--lr-schedule', 'linear', '--lr-final', '1e-4', '--lr-decay', '3-7'];
  const { stdout } = await repa(['train', ...RUN, ...line, '--steps', '9'], { cwd });
  const rates = parseLog(stdout.toString()).map(({ learning_rate }) => learning_rate);
  // lr_lambda(step) of build_scheduler, step 0 first, with warmup_steps 3 and decay_end_steps 7.
  const published = [1, 1, 1, 1, 0.775, 0.55, 0.325, 0.1, 0.1].map((ratio) => 1e-3 * ratio);
  assert.equal(rates.length, published.length);
  for (const [i, rate] of rates.entries()) assert.ok(Math.abs(rate - published[i]) < 1e-12, `step ${i + 1}: ${rate}`);
  for (const [args, message] of [
    [['--lr-decay', '3-7'], /--lr-decay does nothing without --lr-schedule linear/],
    [['--lr-schedule', 'linear', '--lr-decay', '7-3'], /two steps, the earlier first/],
  ] as const) {
    const { code, stderr } = await repa(['train', ...RUN, ...args, '--steps', '1', '--out', 'x'], { cwd });
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
});
