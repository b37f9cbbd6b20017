#!/usr/bin/env node
import { existsSync } from 'node:fs';

// Unless somebody listens, Node opens a debugger at this signal, which batch systems send before a job's end.
process.on('SIGUSR1', () => process.exit(138));

const main = new URL('../dist/src/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  process.stderr.write('repa: this copy of the source is not built yet\n  Run npm ci and npm run build in it.\n');
  process.exitCode = 69;
}
