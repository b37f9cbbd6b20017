// Gathers the numbers of the runs NAME-seedN of a folder: node gather.mjs FOLDER [STEPS] > table.md
// How each run was made, and every measure, become lines of FOLDER/record.ndjson. The table compares the runs, as they were
// after STEPS steps, with those called plain; those of another size or rate, small-NAME or NAME-4e-3, with the plain one of it.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';

const folder = process.argv[2] ?? '.';
const steps = Number(process.argv[3] ?? Infinity);
const lines = (file) =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line));

/** What is not written once more with each number: it is the same in all of them, or in the checkpoint's settings. */
const LEFT_OUT = new Set(['seconds', 'images', 'picture', 'network_sha256', 'decoder', 'resize', 'reference']);

function readRun(name) {
  const [, setting, seed] = /^(.*)-seed(\d+)$/.exec(name);
  const entries = lines(path.join(folder, name, 'log.ndjson'));
  let [seconds, last] = [0, 0];
  const measures = new Map();
  for (const entry of entries) {
    if (entry.evaluation === undefined) {
      seconds += entry.seconds * (entry.step - last);
      last = entry.step;
      continue;
    }
    const kept = Object.entries(entry).filter(([key]) => !LEFT_OUT.has(key));
    const before = measures.get(entry.step) ?? { setting, seed: Number(seed), seconds: Math.round(seconds) };
    measures.set(entry.step, { ...before, ...Object.fromEntries(kept) });
  }
  return { setting, seed: Number(seed), config: configOf(name), measures: [...measures.values()] };
}

/** How a run was made, as its newest checkpoint says it. */
function configOf(name) {
  const steps = readdirSync(path.join(folder, name)).filter((entry) => /^step-\d+$/.test(entry));
  if (steps.length === 0) return undefined;
  const file = path.join(folder, name, steps.sort().at(-1), 'config.json');
  const { version, architecture, model, methods, training } = JSON.parse(readFileSync(file, 'utf8'));
  return { version, architecture, model, methods, training };
}

const runs = readdirSync(folder)
  .filter((name) => /-seed\d+$/.test(name) && existsSync(path.join(folder, name, 'log.ndjson')))
  .map(readRun)
  .filter(({ measures }) => measures.length > 0);
const measured = runs.flatMap(({ measures }) => measures);
const record = runs.flatMap(({ setting, seed, config, measures }) => [{ setting, seed, config }, ...measures]);
writeFileSync(path.join(folder, 'record.ndjson'), record.map((line) => `${JSON.stringify(line)}\n`).join(''));

const distance = Object.keys(Object.assign({}, ...measured)).find((key) => /^(FID|FD)/.test(key));
/** Where a run first has a distance: on the straight line between two measures. */
function reaches(measures, target, along) {
  const after = measures.findIndex((measure) => measure[distance] <= target);
  if (after < 0) return undefined;
  if (after === 0) return measures[0][along];
  const [before, next] = [measures[after - 1], measures[after]];
  const share = (before[distance] - target) / (before[distance] - next[distance]);
  return before[along] + share * (next[along] - before[along]);
}

const compared = runs
  .map((run) => ({ ...run, measures: run.measures.filter(({ step }) => step <= steps) }))
  .filter(({ measures }) => measures.length > 0);
/** The run of the plain model that one is compared with. */
const plainOf = ({ setting, seed }) => {
  const name = `${/^small-/.exec(setting) ?? ''}plain${/-\de-\d$/.exec(setting) ?? ''}`;
  return compared.find((run) => run.setting === name && run.seed === seed);
};
const settings = [...new Set(compared.map(({ setting }) => setting))];
const shown = (values, digits, absent = 'not measured') => {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return absent;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const range =
    known.length > 1 ? ` (${Math.min(...known).toFixed(digits)} to ${Math.max(...known).toFixed(digits)})` : '';
  return `${mean.toFixed(digits)}${range}${known.length < values.length ? `, ${known.length} of ${values.length}` : ''}`;
};
console.log(`| setting | seeds | steps | ${distance} | held-out velocity loss | CKNNA | fewer steps | fewer seconds |`);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
for (const setting of settings) {
  const own = compared.filter((run) => run.setting === setting);
  const last = own.map(({ measures }) => measures[measures.length - 1]);
  const factor = (along) =>
    own.filter(plainOf).map((run) => {
      const end = plainOf(run).measures.at(-1);
      const x = reaches(run.measures, end[distance], along);
      return x === undefined ? undefined : end[along] / x;
    });
  const cells = [
    setting,
    own.map(({ seed }) => seed).join(' '),
    [...new Set(last.map(({ step }) => step))].join(' '),
    shown(
      last.map((measure) => measure[distance]),
      3,
    ),
    shown(
      last.map((measure) => measure.val_velocity_loss),
      4,
    ),
    shown(
      last.map((measure) => measure.cknna),
      3,
    ),
    shown(factor('step'), 2, 'not reached'),
    shown(factor('seconds'), 2, 'not reached'),
  ];
  console.log(`| ${cells.join(' | ')} |`);
}
console.log(`\nMeasured on ${cpus()[0]?.model.trim()}, ${cpus().length} processors.`);
