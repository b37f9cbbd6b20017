/**
 * Runs contestants (see contest.ts) against each other, and prints the ratios of their medians.
 *
 *     node dist/bench/compare.js --steps 10 'node dist/bench/train-step.js' 'python bench/torch_train_step.py'
 */
import { parseArgs } from 'node:util';
import { contest } from './contest.js';

const { values: flags, positionals: commands } = parseArgs({
  options: { steps: { type: 'string', default: '10' } },
  allowPositionals: true,
});

const summaries = await contest(commands, Number(flags.steps));
const [first] = summaries;
summaries.forEach(({ milliseconds, cpuMilliseconds, peakMiB, gflops }, index) => {
  const ratio = (milliseconds / first.milliseconds).toFixed(3);
  const cpuRatio = (cpuMilliseconds / first.cpuMilliseconds).toFixed(3);
  console.log(commands[index]);
  console.log(`  median ${milliseconds.toFixed(0)} ms a step (${ratio} of the first)`);
  console.log(`  median ${cpuMilliseconds.toFixed(0)} ms of CPU a step (${cpuRatio} of the first)`);
  console.log(`  peak ${peakMiB.toFixed(0)} MiB; best GEMM ${gflops.toFixed(0)} GFLOPS`);
});
