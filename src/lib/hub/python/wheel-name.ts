/** What the name of a wheel tells: project, version, and the machines that it is for (PEP 425, PEP 600). */
import { normalisedName } from './requirement.js';
import { parseVersion, type Version } from './version.js';

export interface WheelName {
  readonly project: string;
  readonly version: Version;
  readonly platforms: readonly string[];
}

const WHEEL = /^([\w.]+)-([\w.!+]+)(?:-\d\w*)?-([\w.]+)-([\w.]+)-([\w.]+)\.whl$/;

/** @returns undefined for a file that is no wheel */
export function parseWheelName(name: string): WheelName | undefined {
  const [, project, version, , , platforms] = WHEEL.exec(name) ?? [];
  const parsed = version === undefined ? undefined : parseVersion(version.replaceAll('_', '-'));
  return parsed && { project: normalisedName(project), version: parsed, platforms: platforms.split('.') };
}

export interface Machine {
  readonly platform: string;
  readonly arch: string;
  /** Version of glibc, such as `2.36`; undefined where the machine has another library. */
  readonly glibc: string | undefined;
}

export function thisMachine(): Machine {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return { platform: process.platform, arch: process.arch, glibc: header.glibcVersionRuntime };
}

const ARCHES: Readonly<Record<string, readonly string[]>> = {
  x64: ['x86_64'],
  arm64: ['aarch64', 'arm64'],
};
/** glibc of the names that manylinux had before it said the version itself. */
const LEGACY: Readonly<Record<string, number>> = { '1': 5, '2010': 12, '2014': 17 };

/** Whether libraries for this platform load here. Which Python they are for is of no interest: none runs them. */
export function fitsMachine(platform: string, { platform: system, arch, glibc }: Machine): boolean {
  if (platform === 'any') return true;
  const [, kind, rest] = /^(manylinux|linux|macosx)(.*)$/.exec(platform) ?? [];
  const arches = [...(ARCHES[arch] ?? []), ...(kind === 'macosx' ? ['universal2'] : [])];
  if (!kind || !arches.some((name) => rest.endsWith(`_${name}`))) return false;
  if (kind === 'macosx') return system === 'darwin';
  if (system !== 'linux') return false;
  if (kind === 'linux') return true;
  const [, legacy, minor] = /^(?:(1|2010|2014)|_2_(\d+))_/.exec(rest) ?? [];
  const needed = legacy ? LEGACY[legacy] : Number(minor);
  const [major, own] = (glibc ?? '0.0').split('.').map(Number);
  return major === 2 && own >= needed;
}
