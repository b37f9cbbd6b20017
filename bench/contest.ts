/**
 * Contestants that work in turn, step by step, so that all meet the same machine. A contestant is a command that
 * answers each line of stdin, the name of a piece of work, with a line of JSON: `{"milliseconds": ...,
 * "cpuMilliseconds": ..., "peakMiB": ...}`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';

const GEMM_FLOP = 2 * 1024 ** 3;
/** Long enough for the threads of a runtime that spins after its work to go to sleep. */
const PAUSE_MS = 300;

interface Report {
  milliseconds: number;
  /** Of all threads together: it says more than the clock where other programs run. */
  cpuMilliseconds: number;
  peakMiB: number;
}

/** Medians over the steps. */
export interface Summary {
  milliseconds: number;
  cpuMilliseconds: number;
  peakMiB: number;
  /** Of the best product of two matrices of side 1024 in this run: what the contestant's library reaches here. */
  gflops: number;
}

class Contestant {
  readonly #process;
  readonly #lines;

  constructor(readonly command: string) {
    this.#process = spawn(command, { shell: true, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  async run(work: string): Promise<Report> {
    this.#process.stdin.write(`${work}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.command} ended before it answered`);
    await setTimeout(PAUSE_MS);
    return JSON.parse(value) as Report;
  }

  async end(): Promise<void> {
    this.#process.stdin.end();
    await once(this.#process, 'close');
  }
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** Runs the commands against each other for `steps` rounds after one that warms up; one summary each. */
export async function contest(commands: readonly string[], steps: number): Promise<Summary[]> {
  const contestants = commands.map((command) => new Contestant(command));
  const reports: Report[][] = commands.map(() => []);
  const products: number[][] = commands.map(() => []);
  for (let round = 0; round <= steps; round++) {
    for (const [index, contestant] of contestants.entries()) {
      products[index].push((await contestant.run('gemm')).milliseconds);
      const report = await contestant.run('step');
      if (round > 0) reports[index].push(report);
    }
  }
  await Promise.all(contestants.map((contestant) => contestant.end()));
  return reports.map((own, index) => ({
    milliseconds: median(own.map(({ milliseconds }) => milliseconds)),
    cpuMilliseconds: median(own.map(({ cpuMilliseconds }) => cpuMilliseconds)),
    peakMiB: own.at(-1)!.peakMiB,
    gflops: GEMM_FLOP / Math.min(...products[index]) / 1e6,
  }));
}
