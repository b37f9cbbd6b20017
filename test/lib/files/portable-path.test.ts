import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { portablePath } from '../../../src/lib/files/portable-path.js';

test('paths are told from where the program runs, without what lies above', () => {
  const here = process.cwd();
  assert.equal(portablePath(path.join(here, 'data/images')), 'data/images');
  assert.equal(portablePath('data/images'), 'data/images');
  assert.equal(portablePath(path.join(path.dirname(here), 'other')), '../other');
  assert.equal(portablePath(here), '.');
  assert.equal(portablePath('/dev/stdout'), '/dev/stdout');
});
