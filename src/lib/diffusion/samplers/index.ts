/** The samplers; the first that suits a network is its default. */
import { UsageError } from '../../errors.js';
import { choice } from '../../options/option.js';
import { inUse } from '../../options/resolve.js';
import { options, type Values } from '../../options/table.js';
import type { Values as Numbers, TimedPredictor } from '../guidance.js';
import { hostSpace, type Space } from '../space.js';
import { ddim } from './ddim.js';
import { ddpm } from './ddpm.js';
import { dopri5 } from './dopri5.js';
import { geodesicOde } from './geodesic.js';
import { ode } from './ode.js';
import type { Architecture, Described, Sampler, Start, Trained } from './sampler.js';
import { sde } from './sde.js';

// biome-ignore lint/suspicious/noExplicitAny: each has its own settings, which only it reads
const SAMPLERS: readonly Sampler<any, any>[] = [ode, sde, dopri5, geodesicOde, ddpm, ddim];

/** The options of all samplers, and the one that chooses among them. */
export const SAMPLER_OPTIONS = options({
  mode: choice(
    '--mode <name>',
    'of a SiT the probability flow or SDE, of a DiT DDPM or DDIM',
    ['ode', 'sde', 'ddpm', 'ddim'],
    { defaultText: 'ode, or ddpm for a DiT' },
  ),
  ...ode.options,
  ...dopri5.options,
  ...sde.options,
  ...ddpm.options,
  ...ddim.options,
});

export type SamplerOptions = Values<typeof SAMPLER_OPTIONS>;

/** A sampler with its settings, which needs only a start. */
export interface SettledSampler {
  /** @param space where states lie; by default the host's memory */
  sample<State = Numbers, Input = Float32Array>(
    predict: TimedPredictor<State, Input>,
    start: Start,
    space?: Space<State, Input>,
  ): Promise<Numbers>;
  describe(): Described;
}

/**
 * The sampler of a network: what was asked for, else what its authors sample it with.
 * @throws UsageError for a mode that is not for this network, an option that is not for this sampler, or settings that
 *   do not go together
 */
export function settle(architecture: Architecture, trained: Trained, given: SamplerOptions): SettledSampler {
  const chosen = samplerOf(architecture, trained, given);
  refuseOthers(chosen, given);
  const own = Object.keys(chosen.options).flatMap((key) => {
    const value = (given as Record<string, unknown>)[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  const settings = { ...chosen.defaults(trained), ...Object.fromEntries(own) };
  chosen.check?.(settings);
  return {
    sample: (predict, start, space = hostSpace()) => chosen.sample(predict, start, settings, space),
    describe: () => chosen.describe(settings),
  };
}

function samplerOf(architecture: Architecture, { path }: Trained, { mode: wanted, solver = 'euler' }: SamplerOptions) {
  const own = path === 'geodesic' ? path : undefined;
  const candidates = SAMPLERS.filter((sampler) => sampler.of === architecture && sampler.path === own);
  const modes = [...new Set(candidates.map(({ mode }) => mode))];
  const mode = wanted ?? modes[0];
  const found = candidates.find((one) => one.mode === mode && (one.solvers?.includes(solver) ?? true));
  if (found) return found;
  const what = `a ${architecture}${own ? ` of the ${own} path` : ''}`;
  if (mode === candidates[0].mode) throw new UsageError(`--solver ${solver} is not for ${what}`, 'Leave it out.');
  throw new UsageError(`--mode ${wanted} is not for ${what}`, `Choose ${modes.join(' or ')}.`);
}

function refuseOthers(chosen: (typeof SAMPLERS)[number], given: SamplerOptions): void {
  const known = new Set([SAMPLER_OPTIONS.mode, ...(chosen.solvers ? [SAMPLER_OPTIONS.solver] : [])]);
  const refused = inUse(SAMPLER_OPTIONS, given).find((option) => {
    return !known.has(option as never) && !Object.values(chosen.options).includes(option);
  });
  if (!refused) return;
  const owners = new Set(
    SAMPLERS.filter(({ options }) => Object.values(options).includes(refused)).map(({ words }) => words),
  );
  throw new UsageError(
    `${refused.long} is for ${[...owners].join(' and ')}, this is ${chosen.name}${chosen.remark ?? ''}`,
    'Drop it, or choose another --mode or --solver.',
  );
}

/** In what the sampling that a header describes differs from those of published numbers. */
export function publishedNotes(described: Described): string[] {
  const { mode, solver } = described;
  const found = SAMPLERS.find((one) => one.mode === mode && (one.solvers?.includes(String(solver)) ?? true));
  return found?.published(described) ?? [];
}
