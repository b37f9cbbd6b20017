/** repa pull: published weights and plugins, by name. */

import { Progress } from '../lib/cli/progress.js';
import { JSON_LINES } from '../lib/cli/shared-options.js';
import { operand, verb } from '../lib/cli/verb.js';
import { UsageError } from '../lib/errors.js';
import { flag } from '../lib/options/option.js';
import { closest } from '../lib/options/suggest.js';

const description = `Downloads published weights by short names, those that --encoder, --vae, --net, --ckpt take, and prints where they
are. What is here already is not downloaded again, and needs no network.

Files of Hugging Face repositories go into the cache that its own tools use (HF_HUB_CACHE, HF_HOME; HF_ENDPOINT names a
mirror, HF_TOKEN an account), others into $REPA_HOME/weights, which is ~/.cache/repa/weights by default. A broken
download is continued. Sizes and SHA-256 are checked where they are published, and a file gets its name only when it is
whole. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are respected.

The names that start with xla- are plugins for accelerators (NVIDIA's with CUDA 13 or 12, AMD's, Google's TPU), with the
libraries of their makers. They come as Python packages from the index that pip or uv is configured to ask (PIP_INDEX_URL,
pip.conf, UV_DEFAULT_INDEX; else PyPI), checked by SHA-256 and unpacked into $REPA_HOME/plugins; no Python is needed or run.
To take a newer version, remove the folder and pull again.`;

const examples = [
  {
    why: "all that the paper's recipe needs",
    command: 'repa pull sd-vae-ft-ema dinov2-vit-b inception-2015',
  },
  { why: 'what there is', command: 'repa pull --list' },
  { why: 'what it takes to train on an NVIDIA GPU, some 2 GB', command: 'repa pull xla-cuda13' },
  {
    why: "sample the authors' model",
    command: 'repa pull repa-sit-xl-2 && repa sample --ckpt repa-sit-xl-2 --cfg 1.8',
  },
];

const MEGABYTE = 1e6;

export const command = verb({
  description,
  examples,
  operands: [operand('[names...]', 'short names of weights or plugins')],
  options: {
    list: flag('--list', 'show the names, and where the weights are that are here'),
    json: JSON_LINES,
  },
  run: async (names, options) => {
    const { REGISTRY } = await import('../lib/hub/registry.js');
    const { findWeights } = await import('../lib/hub/locate.js');
    const { findPulledPlugin, PLUGINS, pullPlugin } = await import('../lib/hub/plugins.js');
    const known = [...REGISTRY.keys(), ...PLUGINS.keys()];
    const find = (name: string) => (PLUGINS.has(name) ? findPulledPlugin(name) : findWeights(name));
    const print = (facts: { name: string; path?: string }) =>
      process.stdout.write(
        options.json ? `${JSON.stringify(facts)}\n` : `${facts.name.padEnd(17)} ${facts.path ?? '-'}\n`,
      );
    if (options.list) {
      for (const name of known) print({ name, path: find(name) });
      return;
    }
    if (names.length === 0) throw new UsageError('no names given', 'repa pull --list shows what there is.');
    for (const name of names) {
      if (known.includes(name) || find(name) !== undefined) continue;
      throw new UsageError(
        `nothing is known of weights called '${name}'`,
        closest(name, known) ?? 'repa pull --list shows what there is.',
      );
    }
    const { pullWeights } = await import('../lib/hub/pull.js');
    for (const name of names) {
      let meter: Meter | undefined;
      const begin = (file: string) => {
        meter?.finish();
        const next = new Meter(file, options.quiet);
        meter = next;
        return (done: number, total: number | undefined) => next.show(done, total);
      };
      print(PLUGINS.has(name) ? await pullPlugin(name, begin) : await pullWeights(name, begin(name)));
      meter?.finish();
    }
  },
});

/** Progress in whole megabytes, which start where an earlier download ended. */
class Meter {
  #progress: Progress | undefined;
  #shown = 0;

  constructor(
    readonly name: string,
    readonly quiet: boolean | undefined,
  ) {}

  show(done: number, total: number | undefined): void {
    const megabytes = Math.floor(done / MEGABYTE);
    if (!this.#progress) {
      const whole = total === undefined ? undefined : Math.ceil(total / MEGABYTE);
      this.#progress = new Progress(this.name, { unit: 'MB', total: whole, done: megabytes, quiet: this.quiet });
      this.#shown = megabytes;
    }
    // After a file that changed meanwhile, the count stands still until it is passed.
    if (megabytes > this.#shown) this.#progress.advance(megabytes - this.#shown);
    this.#shown = Math.max(this.#shown, megabytes);
  }

  finish(): void {
    this.#progress?.finish();
  }
}
