/** Resolves a requirement into wheels for this machine: of each project the newest that all conditions allow. */
import { DataError, UnavailableError } from '../../errors.js';
import { type IndexFile, projectFiles } from './index-page.js';
import { parseRequirement, type Requirement } from './requirement.js';
import { compareVersions, isPrerelease, meets, type Version } from './version.js';
import { fitsMachine, type Machine, parseWheelName, thisMachine } from './wheel-name.js';

export interface Wheel extends IndexFile {
  readonly project: string;
  readonly version: Version;
  readonly sha256: string;
}

/** The text METADATA of a wheel. */
export type ReadMetadata = (wheel: Wheel) => Promise<string>;

/** How often the conditions of one choice may change another one. */
const MOST_ROUNDS = 20;

interface Wanted {
  readonly requirement: Requirement;
  /** The project that requires it. */
  readonly by: string;
}

/**
 * The wheels of a requirement and of all that it requires in turn.
 * @param indexes addresses of simple indexes; of each project, the first that has it counts
 * @throws UnavailableError when a project or a version is not to be had; DataError for metadata that make no sense
 */
export async function resolveWheels(
  requirement: string,
  indexes: readonly string[],
  readMetadata: ReadMetadata,
  machine: Machine = thisMachine(),
): Promise<Wheel[]> {
  const pages = new Map<string, Promise<Wheel[]>>();
  const metadata = new Map<string, Promise<string>>();
  const candidates = (project: string): Promise<Wheel[]> =>
    remembered(pages, project, () => wheelsOf(project, indexes, machine));
  const needs = async (wheel: Wheel, extras: readonly string[]): Promise<Requirement[]> =>
    requirementsOf(await remembered(metadata, wheel.url, () => readMetadata(wheel)), extras);

  let conditions = new Map<string, Wanted[]>();
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const chosen = new Map<string, Wheel>();
    const collected = new Map<string, Wanted[]>();
    const queue: Wanted[] = [{ requirement: parseRequirement(requirement)!, by: 'repa' }];
    const seen = new Set<string>();
    for (let wanted = queue.shift(); wanted; wanted = queue.shift()) {
      const { project, extras } = wanted.requirement;
      collected.set(project, [...(collected.get(project) ?? []), wanted]);
      if (seen.has(`${project}[${extras}]`)) continue;
      seen.add(`${project}[${extras}]`);
      const known = conditions.get(project) ?? [wanted];
      const wheel = chosen.get(project) ?? choose(project, known, await candidates(project), indexes);
      chosen.set(project, wheel);
      for (const each of await needs(wheel, extras)) queue.push({ requirement: each, by: project });
    }
    conditions = collected;
    const agrees = ([project, wheel]: [string, Wheel]) => isAllowed(wheel, collected.get(project)!);
    if ([...chosen].every(agrees)) return [...chosen.values()];
  }
  throw new UnavailableError(`the wheels of ${requirement} do not come to agree on their versions`);
}

function remembered<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const made = known.get(key) ?? make();
  known.set(key, made);
  return made;
}

const isAllowed = ({ version }: Wheel, wanted: readonly Wanted[]): boolean =>
  wanted.every(({ requirement }) => requirement.specifiers.every((specifier) => meets(version, specifier)));

function choose(
  project: string,
  wanted: readonly Wanted[],
  wheels: readonly Wheel[],
  indexes: readonly string[],
): Wheel {
  if (wheels.length === 0) {
    throw new UnavailableError(
      `no wheel of ${project} for this machine (${process.platform} ${process.arch}) is in ${indexes.map(withoutSecret).join(', ')}`,
      'PIP_INDEX_URL and PIP_EXTRA_INDEX_URL name the indexes to ask, as for pip.',
    );
  }
  const [newest] = wheels.filter((wheel) => isAllowed(wheel, wanted));
  if (newest) return newest;
  const conditions = wanted.flatMap(({ requirement, by }) =>
    requirement.specifiers.map(({ operator, version }) => `${operator}${version} (${by})`),
  );
  throw new UnavailableError(
    `no version of ${project} is ${conditions.join(' and ')}: there are ${wheels.map(({ version }) => version.text).join(', ')}`,
  );
}

const withoutSecret = (index: string): string => index.replace(/\/\/[^/@]*@/, '//');

/**
 * The wheels of a project for this machine, the newest first; versions before a release only where there are no others.
 */
async function wheelsOf(project: string, indexes: readonly string[], machine: Machine): Promise<Wheel[]> {
  let failure: unknown;
  for (const index of indexes) {
    const files = await projectFiles(index, project).catch((error) => {
      if (!(error instanceof UnavailableError)) throw error;
      failure ??= error; // another may have it
      return [];
    });
    const wheels = files.flatMap((file): Wheel[] => {
      const name = parseWheelName(file.name);
      if (name?.project !== project || !name.platforms.some((platform) => fitsMachine(platform, machine))) return [];
      const { sha256 } = file;
      if (sha256 === undefined) throw new DataError(`${file.url}: the index tells no SHA-256 of it`);
      return file.yanked ? [] : [{ ...file, sha256, project, version: name.version }];
    });
    const released = wheels.filter(({ version }) => !isPrerelease(version));
    const taken = released.length > 0 ? released : wheels;
    if (taken.length > 0) return taken.sort((a, b) => compareVersions(b.version, a.version));
  }
  if (failure) throw failure;
  return [];
}

/** What METADATA requires, with these extras (the header ends at the first empty line). */
function requirementsOf(metadata: string, extras: readonly string[]): Requirement[] {
  const [header] = metadata.split(/\r?\n\r?\n/, 1);
  return [...header.matchAll(/^Requires-Dist:\s*(.*)$/gim)].flatMap(([, text]) => parseRequirement(text, extras) ?? []);
}
