/**
 * A long campaign: `node dist/test/fuzz/main.js [count [seed [format...]]]`. Each input has a seed of its own, from
 * `seed` on, so that a fault is made again by `main.js 1 SEED FORMAT`.
 */
import { campaign } from './campaign.js';

const [count = '100000', seed = '1', ...formats] = process.argv.slice(2);
let tried = 0;
for await (const outcome of campaign(Number(count), Number(seed), formats)) {
  tried++;
  const { format, inputs, refused, same, other, faults, slowestMs } = outcome;
  process.stdout.write(
    `${format}: ${inputs} inputs, ${refused} refused, ${same} as before, ${other} otherwise, ` +
      `${faults.length} faults, slowest ${slowestMs.toFixed(0)} ms\n`,
  );
  for (const fault of faults) process.stdout.write(`  ${fault}\n`);
  if (faults.length > 0) process.exitCode = 1;
}
if (tried === 0) {
  process.stderr.write(`no format is called ${formats.join(' or ')}\n`);
  process.exitCode = 2;
}
process.stdout.write(`memory at most ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB\n`);
