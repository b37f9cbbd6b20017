// Builds dist/: compiles src, test, bench and examples, bundles tfjs-core with its gradients into one module,
// and the page of runs with its plots into one script, assembles the WebAssembly kernels, and copies the weights that
// ship with repa; and native/ where a C compiler is. A failed type check fails the build.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import wabt from 'wabt';
import { buildNative } from './native.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const require = createRequire(import.meta.url);

/** tfjs-core does not load as ES modules in Node and registers no gradients by itself: one bundled file does both. */
async function bundleTfjs() {
  await build({
    stdin: {
      contents: `export * from '@tensorflow/tfjs-core'; import '@tensorflow/tfjs-core/dist/register_all_gradients';`,
      resolveDir: root,
    },
    bundle: true,
    platform: 'node',
    format: 'esm',
    mainFields: ['module', 'main'],
    external: ['node-fetch'],
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    legalComments: 'eof',
    logLevel: 'error',
    outfile: 'dist/src/lib/engine/tfjs.js',
  });
}

/** The page of runs: its script and the styles of its plots and its own, each in one file that is put into the page. */
async function bundlePage() {
  await build({
    entryPoints: { page: 'src/page/main.ts' },
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'inline',
    logLevel: 'error',
    outdir: 'dist/src/assets',
  });
  await build({
    stdin: {
      contents: "@import 'uplot/dist/uPlot.min.css'; @import './src/page/page.css';",
      loader: 'css',
      resolveDir: root,
    },
    bundle: true,
    minify: true,
    logLevel: 'error',
    outfile: 'dist/src/assets/page.css',
  });
}

async function assembleKernels() {
  const { parseWat } = await wabt();
  for (const entry of readdirSync('src', { recursive: true, encoding: 'utf8' })) {
    if (!entry.endsWith('.wat')) continue;
    const { buffer } = parseWat(entry, readFileSync(path.join('src', entry), 'utf8'), { simd: true }).toBinary({});
    const out = path.join('dist/src', entry.replace(/\.wat$/, '.wasm'));
    mkdirSync(path.dirname(out), { recursive: true });
    writeFileSync(out, buffer);
  }
}

// Sources that were removed must not live on in dist/.
rmSync('dist', { recursive: true, force: true });
const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc');
for (const project of ['.', 'src/page']) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
cpSync('src/assets', 'dist/src/assets', { recursive: true });
await Promise.all([bundleTfjs(), bundlePage(), assembleKernels()]);
buildNative(); // where it cannot be built, all works without
