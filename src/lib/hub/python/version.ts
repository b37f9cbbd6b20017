/** Versions of Python packages and what they are compared with (PEP 440). */
import { DataError } from '../../errors.js';

export interface Version {
  readonly text: string;
  readonly epoch: number;
  readonly release: readonly number[];
  /** Order among the versions of one release: development, alpha, beta, candidate, none of them. */
  readonly stage: readonly [number, number];
  /** Number of a later publication of the same release; -1 for none. */
  readonly post: number;
  readonly development: number;
}

const VERSION =
  /^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(alpha|beta|preview|pre|rc|a|b|c)[-_.]?(\d*))?((?:-(\d+))|(?:[-_.]?(?:post|rev|r)[-_.]?(\d*)))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+[a-z\d.\-_]+)?$/i;

const STAGES: Readonly<Record<string, number>> = { a: 1, alpha: 1, b: 2, beta: 2, c: 3, rc: 3, pre: 3, preview: 3 };
const DEVELOPMENT_ONLY = 0;
const FINAL = 4;

/** @returns undefined for what is no version */
export function parseVersion(text: string): Version | undefined {
  const found = VERSION.exec(text.trim());
  if (!found) return undefined;
  const [, epoch, release, stage, stageNumber, post, postBare, postNumber, dev, devNumber] = found;
  const isDevelopment = dev !== undefined;
  const bareStage = isDevelopment && post === undefined ? DEVELOPMENT_ONLY : FINAL;
  return {
    text: text.trim(),
    epoch: Number(epoch ?? 0),
    release: release.split('.').map(Number),
    stage: stage ? [STAGES[stage.toLowerCase()], Number(stageNumber || 0)] : [bareStage, 0],
    post: post === undefined ? -1 : Number(postBare ?? (postNumber || 0)),
    development: isDevelopment ? Number(devNumber || 0) : Number.POSITIVE_INFINITY,
  };
}

/** Whether it is one that is taken only by those who ask for it. */
export const isPrerelease = ({ stage, development }: Version): boolean =>
  stage[0] !== FINAL || Number.isFinite(development);

/** Below zero where `a` is the older one; local labels do not count. */
export function compareVersions(a: Version, b: Version): number {
  const length = Math.max(a.release.length, b.release.length);
  const parts = ({ epoch, release, stage, post, development }: Version) => [
    epoch,
    ...Array.from({ length }, (_, i) => release[i] ?? 0),
    ...stage,
    post,
    development,
  ];
  const [x, y] = [parts(a), parts(b)];
  const at = x.findIndex((value, i) => value !== y[i]);
  return at < 0 ? 0 : x[at] < y[at] ? -1 : 1;
}

export interface Specifier {
  readonly operator: string;
  readonly version: string;
}

/** Of a list such as `>=12.1,<13`. @throws DataError for what is no list of them */
export function parseSpecifiers(text: string): Specifier[] {
  const parts = text.split(',').map((part) => part.trim());
  return parts.filter(Boolean).map((part) => {
    const [, operator, version] = /^(===|==|~=|!=|<=|>=|<|>)\s*(\S+)$/.exec(part) ?? [];
    const isKnown = operator === '===' || parseVersion(version?.replace(/\.\*$/, '') ?? '') !== undefined;
    if (operator && isKnown) return { operator, version };
    throw new DataError(`'${part.slice(0, 60)}' is no condition on a version`);
  });
}

const startsWith = ({ release }: Version, start: readonly number[]): boolean =>
  start.every((value, i) => (release[i] ?? 0) === value);

/** Whether a version meets a condition. */
export function meets(version: Version, { operator, version: text }: Specifier): boolean {
  if (operator === '===') return version.text === text;
  const isSeries = text.endsWith('.*');
  const bound = parseVersion(isSeries ? text.slice(0, -2) : text)!;
  const order = compareVersions(version, bound);
  const isEqual = isSeries ? startsWith(version, bound.release) : order === 0;
  switch (operator) {
    case '==':
      return isEqual;
    case '!=':
      return !isEqual;
    case '<=':
      return order <= 0;
    case '>=':
      return order >= 0;
    case '<':
      return order < 0;
    case '>':
      return order > 0;
    default: // ~=: this one or later of the same series
      return order >= 0 && startsWith(version, bound.release.slice(0, -1));
  }
}
