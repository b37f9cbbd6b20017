// Packs repa for release: builds, packs, installs the tarball into an empty folder, and asks every verb of what is
// installed there for its help. Prints the tarball's name, size and SHA-256. Publishes nothing.
//   node scripts/release.mjs [FOLDER]     the tarball goes into FOLDER, release/ by default
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const folder = path.resolve(process.argv[2] ?? path.join(root, 'release'));
const run = (program, args, options = {}) =>
  execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options });

if (run('git', ['status', '--porcelain'], { cwd: root }) !== '') {
  process.stderr.write('release: commit or stash first: what is packed is to be what a commit holds\n');
  process.exit(1);
}
run(process.execPath, ['scripts/build.mjs'], { cwd: root });
run(process.execPath, ['scripts/man.mjs'], { cwd: root });
if (run('git', ['status', '--porcelain'], { cwd: root }) !== '') {
  process.stderr.write('release: man/ was not what the commands say: commit what was written\n');
  process.exit(1);
}
mkdirSync(folder, { recursive: true });
// prepare has just been done
const packed = run('npm', ['pack', '--ignore-scripts', '--pack-destination', folder, '--json'], { cwd: root });
const [{ filename, files }] = JSON.parse(packed);
const tarball = path.join(folder, filename);

const empty = mkdtempSync(path.join(os.tmpdir(), 'repa-release-'));
try {
  const warned = execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', tarball], {
    cwd: empty,
    encoding: 'utf8',
  });
  const installed = path.join(empty, 'node_modules/repa');
  const repa = (...args) => run(process.execPath, [path.join(installed, 'bin/repa.js'), ...args], { cwd: empty });
  const { verbs } = await import(pathToFileURL(path.join(installed, 'dist/src/commands/index.js')));
  for (const { name } of verbs) {
    if (!repa(name, '--help').includes(`repa ${name}`)) throw new Error(`${name} --help does not tell of ${name}`);
  }
  process.stdout.write(`${warned}${verbs.length} verbs answer --help\n`);
  process.stdout.write(repa('info', path.join(installed, 'dist/src/assets/emoji-cnn.onnx')));
} finally {
  rmSync(empty, { recursive: true, force: true });
}
const bytes = readFileSync(tarball);
process.stdout.write(
  `${tarball}: ${files.length} files, ${bytes.length} bytes, SHA-256 ${createHash('sha256').update(bytes).digest('hex')}\n`,
);
