/** The devices of the plugin that .ci/xla builds. */
import assert from 'node:assert/strict';

/** Its file, which REPA_PJRT_PLUGIN names. */
export function testPlugin(): string {
  const file = process.env.REPA_PJRT_PLUGIN;
  assert.ok(file, 'REPA_PJRT_PLUGIN has to name the plugin that .ci/xla builds');
  return file;
}
