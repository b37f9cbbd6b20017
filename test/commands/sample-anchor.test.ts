/** repa sample --repa-guidance: samples that are drawn to features. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { repa } from './binary.js';
import { makeTensors } from './support.js';
import { prepared, RUN } from './training-run.js';

test('samples are drawn to the anchor, which the header tells; what cannot be is refused', async (t) => {
  const cwd = await prepared(t);
  const told = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await repa(args, { cwd });
    assert.equal(code, 0, `${args.join(' ')}: ${stderr}`);
    return stdout.toString();
  };
  await told('train', ...RUN, '--steps', '1');
  await told('train', ...RUN, '--steps', '1', '--lambda', '0', '--out', 'plain-run');
  const sample = ['sample', '--num', '2', '--steps', '3', '--latents'];
  const anchored = [...sample, '--repa-guidance', '50', '--anchor', 'feats'];
  await told(...sample, '-o', 'without');
  await told(...anchored, '--anchor-row', '2', '-o', 'ode');
  await told(...anchored, '--anchor-mean', '--cfg', '2', '--mode', 'sde', '-o', 'sde');
  const header = await told('info', 'ode');
  assert.match(header, /"repa_guidance":50,"anchor":\{"features":"feats","row":2,"mean":false,"interval":\[0,1\]\}/);
  const differs = await repa(['diff', 'without', 'ode'], { cwd });
  assert.equal(differs.code, 1, differs.stdout.toString());

  await makeTensors(path.join(cwd, 'others'), ['a'], { name: 'feature', dtype: 'f32', shape: [16, 5] });
  const cases: [string[], number, RegExp][] = [
    [[...anchored, '--ckpt', 'plain-run'], 2, /plain-run.* has no projector.*--lambda above 0/s],
    [[...sample, '--repa-guidance', '50'], 2, /--repa-guidance does nothing without --anchor/],
    [[...anchored, '--anchor-row', '10'], 2, /--anchor-row 10: feats has rows 0 to 9/],
    [[...sample, '--repa-guidance', '50', '--anchor', 'others'], 65, /\[16, 5\] cannot anchor .* \[16, 8\]/],
    [[...anchored, '--mode', 'sde', '--diffusion', 'sigma'], 2, /--repa-guidance is for a SiT/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, stderr } = await repa([...args, '-o', 'x'], { cwd });
    assert.equal(code, expected, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
  }
});
