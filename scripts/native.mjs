// Builds the products by bf16 units (native/) where a C compiler is: `npm run build:native`, and part of every build.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'native');
const target = path.join(folder, 'build', `${process.platform}-${process.arch}.so`);
// -z nodelete: threads of ONNX Runtime give memory back by a function of the library when they end, after their
// session.
const FLAGS = ['-O3', '-std=gnu11', '-fPIC', '-shared', '-fvisibility=hidden', '-Wl,-z,nodelete', '-pthread'];

/** Whether the library is older than what it is made of. */
function isOld() {
  if (!existsSync(target)) return true;
  const made = statSync(target).mtimeMs;
  return readdirSync(folder).some((name) => /\.[ch]$/.test(name) && statSync(path.join(folder, name)).mtimeMs > made);
}

/** Says why there is no library, or returns null. Only Linux on x64 has these units by this interface. */
export function buildNative() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return 'only processors of x64 under Linux have these units';
  if (!isOld()) return null;
  mkdirSync(path.dirname(target), { recursive: true });
  const sources = readdirSync(folder).filter((name) => name.endsWith('.c'));
  const unfinished = `${target}.${process.pid}`;
  const { status, error, stderr } = spawnSync(process.env.CC || 'cc', [...FLAGS, '-o', unfinished, ...sources, '-lm'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (error) return 'there is no C compiler (cc)';
  if (status !== 0) return `the C compiler does not take it (gcc 11 or clang 14 do):\n${stderr}`;
  renameSync(unfinished, target);
  return null;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problem = buildNative();
  if (problem) process.stderr.write(`native/ was not built: ${problem}\n`);
  process.exitCode = problem ? 1 : 0;
}
