/** What tests share: where fixtures lie, and folders that vanish afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { HostTensor } from '../src/lib/formats/host-tensor.js';
import { encodeNpy } from '../src/lib/formats/npy.js';

// Compiled tests lie in dist/test; the fixtures stay in test/fixtures.
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** Path of `test/fixtures/<name>`. */
export const fixturePath = (name: string): string => path.join(root, 'test/fixtures', name);

/** A new folder, removed when the test file ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'repa-test-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes a .npy file. */
export const writeNpy = (file: string, tensor: HostTensor): void => writeFileSync(file, encodeNpy(tensor));
