/** repa watch: runs while they train, on a page or in the terminal. */

import { once } from 'node:events';
import { answerFirstSignal, dieOf } from '../lib/cli/interrupt.js';
import { RESULTS } from '../lib/cli/shared-options.js';
import { operand, verb } from '../lib/cli/verb.js';
import { flag, integer, text } from '../lib/options/option.js';

const description = `Shows one or more training runs while they train: on a page that this machine alone can open, or with --tty in the
terminal. Curves grow as the log does; the newest samples of --eval-every stand beside the older ones from the same noise; and
the settings in which runs differ are listed.

The page compares runs by step, by images or by seconds of computing, smooths, has logarithmic axes, and tells the values
under the pointer. --results adds what cknna, probe and fid measured: by block, and as a table. repa report writes the same page to a file. Nothing is written, and a run may end, be killed and
continue while it is watched. ^C ends it.`;

const examples = [
  { why: 'a run and the one it is compared with', command: 'repa watch ckpt ckpt-plain' },
  {
    why: 'with what was measured of hidden states, by block',
    command: 'repa watch ckpt --results cknna.ndjson,probe.ndjson',
  },
  { why: 'over ssh, in the terminal', command: 'repa watch ckpt --tty' },
];

export const command = verb({
  description,
  examples,
  operands: [operand('[runs...]', 'training folders or logs (default: ckpt)')],
  options: {
    results: RESULTS,
    port: integer('--port <n>', 'port of the page; 0 for any that is free', { max: 65535, default: 0 }),
    tty: flag('--tty', 'draw in the terminal instead'),
    field: text('--field <name>', 'field that --tty draws', { defaultText: 'velocity_loss', needs: 'tty' }),
    once: flag('--once', 'with --tty: draw once and end', { needs: 'tty' }),
  },
  run: async (locations, options) => {
    const { RunFolder } = await import('../lib/runs/run-folder.js');
    const folders = (locations.length > 0 ? locations : ['ckpt']).map((location) => new RunFolder(location));
    answerFirstSignal(dieOf); // nothing is left unfinished that had to be told of
    if (options.tty) {
      const { watchInTerminal } = await import('../lib/cli/terminal-watch.js');
      return watchInTerminal(folders, { field: options.field ?? 'velocity_loss', once: options.once ?? false });
    }
    const { servePage } = await import('../lib/runs/page-server.js');
    const { readResults } = await import('../lib/runs/results.js');
    const { address, server } = await servePage(folders, options.port, readResults(options.results));
    process.stdout.write(`${address}\n`);
    await once(server, 'close');
  },
});
