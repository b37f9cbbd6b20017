#!/usr/bin/env node
import { existsSync } from 'node:fs';

const main = new URL('../dist/src/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('repa: this copy of the source is not built yet\n  Run npm ci and npm run build in it.\n');
  process.exitCode = 69;
}
