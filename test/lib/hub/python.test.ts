/** What pip understands of versions, requirements, names of wheels and its own settings. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseRequirement } from '../../../src/lib/hub/python/requirement.js';
import { indexAddresses } from '../../../src/lib/hub/python/settings.js';
import {
  compareVersions,
  isPrerelease,
  meets,
  parseSpecifiers,
  parseVersion,
} from '../../../src/lib/hub/python/version.js';
import { fitsMachine, parseWheelName } from '../../../src/lib/hub/python/wheel-name.js';
import { temporaryFolder } from '../../support.js';

test('versions are ordered as PEP 440 orders them', () => {
  // The example of the specification, and numbers that letters would order otherwise.
  const ordered = [
    ...['1.dev0', '1.0.dev456', '1.0a1', '1.0a2.dev456', '1.0a12.dev456', '1.0a12', '1.0b1.dev456', '1.0b2'],
    ...['1.0b2.post345.dev456', '1.0b2.post345', '1.0rc1.dev456', '1.0rc1', '1.0', '1.0.post456.dev34'],
    ...['1.0.post456', '1.0.15', '1.1.dev1', '1.9', '1.10', '2!0.1'],
  ].map((text) => parseVersion(text)!);
  for (let i = 1; i < ordered.length; i++) {
    assert.ok(compareVersions(ordered[i - 1], ordered[i]) < 0, `${ordered[i - 1].text} < ${ordered[i].text}`);
  }
  assert.equal(compareVersions(parseVersion('1.0')!, parseVersion('1.0.0+local')!), 0);
  assert.deepEqual(
    ['1.0', '1.0.post1', '1.0rc1', '1.0.dev1'].map((text) => isPrerelease(parseVersion(text)!)),
    [false, false, true, true],
  );
  assert.equal(parseVersion('not a version'), undefined);
});

test('conditions on versions mean what PEP 440 says', () => {
  const cases: [string, string, boolean][] = [
    ['13.1.1', '>=13,<14', true],
    ['14', '>=13,<14', false],
    ['0.10.2', '<=0.10.2,>=0.10.2', true],
    ['0.0.42.1', '==0.0.42.*', true],
    ['0.0.43', '==0.0.42.*', false],
    ['2.2.1', '~=2.2', true],
    ['3.0', '~=2.2', false],
    ['2.3', '~=2.2.1', false],
    ['1.5', '!=1.5', false],
    ['1.5.0', '==1.5', true],
    ['9.8', '>=9.8,!=9.10.*,<10.0', true],
    ['9.10.1', '>=9.8,!=9.10.*,<10.0', false],
  ];
  for (const [version, conditions, expected] of cases) {
    const all = parseSpecifiers(conditions).every((specifier) => meets(parseVersion(version)!, specifier));
    assert.equal(all, expected, `${version} ${conditions}`);
  }
  assert.throws(() => parseSpecifiers('=>3'), /no condition on a version/);
});

test('a requirement holds for this machine and the extras that are wanted', () => {
  const name = (text: string, extras: readonly string[] = []) => parseRequirement(text, extras)?.project;
  assert.deepEqual(parseRequirement('jax-cuda13-plugin[with-cuda]<=0.10.2,>=0.10.2'), {
    project: 'jax-cuda13-plugin',
    extras: ['with-cuda'],
    specifiers: [
      { operator: '<=', version: '0.10.2' },
      { operator: '>=', version: '0.10.2' },
    ],
  });
  assert.equal(name('NVIDIA_cuBLAS.cu12 (>=12.1)'), 'nvidia-cublas-cu12');
  assert.equal(name('a; extra == "with-cuda"'), undefined);
  assert.equal(name('a; extra == "with-cuda"', ['with-cuda']), 'a');
  assert.equal(name('a; extra == "with_cuda"', ['with-cuda']), 'a');
  assert.equal(name(`a; sys_platform == "${process.platform}" and (extra == 'x' or python_version >= "3.9")`), 'a');
  assert.equal(name('a; sys_platform == "win32"'), undefined);
  assert.equal(name('a; platform_machine not in "riscv64 s390x"'), 'a');
  assert.throws(() => name('a; nonsense'), /no marker/);
  assert.throws(() => name('a @ https://example.org/a.whl'), /no requirement|no condition/);
});

test('the name of a wheel tells project, version and machine', () => {
  const parsed = parseWheelName('nvidia_cuda_nvrtc-13.0.88-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl')!;
  assert.equal(parsed.project, 'nvidia-cuda-nvrtc');
  assert.equal(parsed.version.text, '13.0.88');
  assert.deepEqual(parsed.platforms, ['manylinux2010_x86_64', 'manylinux_2_12_x86_64']);
  assert.equal(parseWheelName('jax-0.10.2.tar.gz'), undefined);
  const linux = { platform: 'linux', arch: 'x64', glibc: '2.28' };
  const fits = (tag: string, machine: { platform: string; arch: string; glibc: string | undefined } = linux) =>
    fitsMachine(tag, machine);
  assert.deepEqual(
    ['any', 'manylinux2014_x86_64', 'manylinux_2_28_x86_64', 'linux_x86_64'].map((tag) => fits(tag)),
    [true, true, true, true],
  );
  assert.deepEqual(
    ['manylinux_2_31_x86_64', 'manylinux2014_aarch64', 'musllinux_1_2_x86_64', 'win_amd64', 'macosx_11_0_arm64'].map(
      (tag) => fits(tag),
    ),
    [false, false, false, false, false],
  );
  assert.ok(!fits('manylinux2014_x86_64', { ...linux, glibc: undefined }));
  assert.ok(fits('macosx_11_0_arm64', { platform: 'darwin', arch: 'arm64', glibc: undefined }));
});

test('the indexes are those of pip or uv, the environment first', () => {
  const home = temporaryFolder();
  mkdirSync(path.join(home, 'pip'));
  writeFileSync(
    path.join(home, 'pip', 'pip.conf'),
    '# ours\n[global]\nindex-url = https://mirror.example/simple/\nextra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n[other]\nindex-url = https://not.example\n',
  );
  const nothing = { PIP_CONFIG_FILE: '/dev/null' };
  assert.deepEqual(indexAddresses(nothing), ['https://pypi.org/simple']);
  const file = { XDG_CONFIG_HOME: home, XDG_CONFIG_DIRS: path.join(home, 'none') };
  assert.deepEqual(indexAddresses(file), [
    ...['https://mirror.example/simple', 'https://one.example/simple', 'https://two.example/simple'],
  ]);
  assert.equal(
    indexAddresses({ ...file, PIP_INDEX_URL: 'https://env.example/simple' })[0],
    'https://env.example/simple',
  );
  assert.deepEqual(
    indexAddresses({
      ...nothing,
      UV_DEFAULT_INDEX: 'https://a/simple',
      UV_INDEX: 'b=https://b/simple c=https://c/simple',
    }),
    [...['https://a/simple', 'https://b/simple', 'https://c/simple']],
  );
});
