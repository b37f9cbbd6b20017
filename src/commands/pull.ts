/** repa pull: published weights, by name. */

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
whole. HTTPS_PROXY, HTTP_PROXY and NO_PROXY are respected.`;

const examples = [
  {
    why: "all that the paper's recipe needs",
    command: 'repa pull sd-vae-ft-ema dinov2-vit-b inception-2015',
  },
  { why: 'what there is', command: 'repa pull --list' },
  {
    why: "sample the authors' model",
    command: 'repa pull repa-sit-xl-2 && repa sample --ckpt repa-sit-xl-2 --cfg 1.8',
  },
];

const MEGABYTE = 1e6;

export const command = verb({
  description,
  examples,
  operands: [operand('[names...]', 'short names of weights')],
  options: {
    list: flag('--list', 'show the names, and where the weights are that are here'),
    json: JSON_LINES,
  },
  run: async (names, options) => {
    const { REGISTRY } = await import('../lib/hub/registry.js');
    const { findWeights } = await import('../lib/hub/locate.js');
    const print = (facts: { name: string; path?: string }) =>
      process.stdout.write(
        options.json ? `${JSON.stringify(facts)}\n` : `${facts.name.padEnd(17)} ${facts.path ?? '-'}\n`,
      );
    if (options.list) {
      for (const name of REGISTRY.keys()) print({ name, path: findWeights(name) });
      return;
    }
    if (names.length === 0) throw new UsageError('no names given', 'repa pull --list shows what there is.');
    for (const name of names) {
      if (findWeights(name) === undefined && !REGISTRY.has(name)) {
        throw new UsageError(
          `nothing is known of weights called '${name}'`,
          closest(name, [...REGISTRY.keys()]) ?? 'repa pull --list shows what there is.',
        );
      }
    }
    const { pullWeights } = await import('../lib/hub/pull.js');
    for (const name of names) {
      const meter = new Meter(name, options.quiet);
      const pulled = await pullWeights(name, (done, total) => meter.show(done, total));
      meter.finish();
      print(pulled);
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
