import assert from 'node:assert/strict';
import { test } from 'node:test';
import { repa, shell, temporaryFolder } from './binary.js';

test('bash loads the script and asks it for verbs, options and choices', async (t) => {
  const cwd = temporaryFolder(t);
  const bash = await shell('source <(repa completion bash) && complete -p repa', { cwd });
  assert.deepEqual([bash.code, bash.stderr], [0, '']);
  assert.match(bash.stdout.toString(), /complete .*-F \w+ repa/);
  for (const name of ['zsh', 'fish', 'powershell']) {
    const { code, stdout } = await repa(['completion', name], { cwd });
    assert.equal(code, 0);
    assert.match(stdout.toString(), /repa/);
  }
  const unknown = await repa(['completion', 'tcsh'], { cwd });
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /Allowed choices are bash, zsh, fish, powershell/);
});

test('what is completed is what the option tables say', async (t) => {
  const cwd = temporaryFolder(t);
  const asked = async (...words: string[]): Promise<string[]> => {
    const { code, stdout } = await repa(['complete', '--', ...words], { cwd });
    assert.equal(code, 0);
    const lines = stdout.toString().trim().split('\n');
    return lines.filter((line) => !line.startsWith(':')).map((line) => line.split('\t')[0]);
  };
  assert.deepEqual(await asked('tra'), ['train']);
  assert.deepEqual(await asked('train', '--lam'), ['--lambda']);
  assert.deepEqual(await asked('sample', '--mode', ''), ['ode', 'sde', 'ddpm', 'ddim']);
  assert.ok((await asked('sample', '--guid')).includes('--guidance-high'));
});
