/**
 * The list of methods: REPA and its follow-ups. Adding one takes its file and a line here. What is asked of all of them
 * together is asked here, so that training, sampling and the command line need not know any.
 */
import { type Shape, someFields } from '../formats/json-shape.js';
import type { Preset } from '../options/resolve.js';
import type { Table, Values } from '../options/table.js';
import { deltaFM } from './delta-fm.js';
import { direction } from './direction.js';
import { dispersive } from './dispersive.js';
import { haste } from './haste.js';
import { internalGuidance } from './internal-guidance.js';
import { irepa } from './irepa.js';
import { layerSync } from './layer-sync.js';
import type { ActiveMethod, AlignmentVariant, AnyMethod, Facts, FeatureSource } from './method.js';
import { pixelRepa } from './pixel-repa.js';
import { RECIPES } from './recipes.js';
import { redi } from './redi.js';
import { reg } from './reg.js';
import { repa } from './repa.js';
import { selfFlow } from './self-flow.js';
import { sprint } from './sprint.js';
import { sra } from './sra.js';
import { sra2 } from './sra-2.js';
import { tread } from './tread.js';
import { uRepa } from './u-repa.js';
import { checkWholeBlocks } from './whole-blocks.js';

export type { ActiveMethod };

/**
 * The order is that of their parameters in state dicts, which numbers the random draws of their start: add at the end.
 */
export const METHODS: readonly AnyMethod[] = [
  repa,
  irepa,
  uRepa,
  haste,
  redi,
  reg,
  direction,
  deltaFM,
  layerSync,
  dispersive,
  tread,
  sprint,
  sra,
  internalGuidance,
  selfFlow,
  pixelRepa,
  sra2,
];

/** The options of all methods, each method's in a table of its own. */
export const METHOD_OPTIONS = Object.fromEntries(METHODS.map(({ name, options }) => [name, options])) as Table;

/** The values of the options of all methods, by the methods' names. */
export type MethodValues = Readonly<Record<string, unknown>>;

/** Recipes of papers by name. */
export const PRESETS: ReadonlyMap<string, Preset> = new Map([
  ...METHODS.flatMap(({ presets = {} }) => Object.entries(presets)),
  ...Object.entries(RECIPES),
]);

/** Settings of the methods that are on, by their names: as config.json holds them. */
export type MethodSettings = Readonly<Record<string, unknown>>;

/** The methods that are on, in the order of the list. */
export const activeMethods = (settings: MethodSettings): ActiveMethod[] =>
  METHODS.filter(({ name }) => name in settings).map((method) => ({ method, settings: settings[method.name] }));

/** Reads the settings of methods: one that is absent is off, an unknown one is named. */
export const methodSettings: Shape<MethodSettings> = someFields(
  Object.fromEntries(METHODS.map(({ name, settings }) => [name, settings])),
);

/** The methods that options ask for. */
export function chosenMethods(values: MethodValues): AnyMethod[] {
  const on = METHODS.filter((method) => method.isOn(values[method.name] as never));
  const replaced = new Set(on.flatMap(({ replaces = [] }) => replaces));
  return on.filter(({ name }) => !replaced.has(name));
}

/**
 * The settings of the methods that options ask for.
 * @throws UsageError for what does not fit the model, the data or each other
 */
export function settleMethods(values: MethodValues, facts: Omit<Facts, 'valuesOf'>): MethodSettings {
  const valuesOf = <T extends Table>({ name }: { name: string; options: T }): Values<T> => values[name] as Values<T>;
  const settled = chosenMethods(values).map((method) => {
    return { method, settings: method.settle(values[method.name] as never, { ...facts, valuesOf }) };
  });
  checkWholeBlocks(settled, facts.model);
  return Object.fromEntries(settled.map(({ method, settings }) => [method.name, settings]));
}

/** What the methods together change in REPA's term. */
export const variantOf = (active: readonly ActiveMethod[]): AlignmentVariant =>
  Object.assign({}, ...active.map(({ method, settings }) => method.variant?.(settings)));

/** The methods at work at a step: once one of them stops following features, those that follow them drop out. */
export function methodsAt(active: readonly ActiveMethod[], step: number): ActiveMethod[] {
  const follow = active.every(({ method, settings }) => method.follows?.(settings, step) ?? true);
  return follow ? [...active] : withoutFollowing(active);
}

/** The methods that need no features to follow. */
export const withoutFollowing = (active: readonly ActiveMethod[]): ActiveMethod[] =>
  active.filter(({ method }) => method.features !== 'followed');

/** Whether any of these methods follows features. */
export const areFollowing = (active: readonly ActiveMethod[]): boolean =>
  active.some(({ method }) => method.features === 'followed');

/** @throws UsageError for features that a run's methods cannot follow */
export function checkFeatures(
  active: readonly ActiveMethod[],
  features: readonly FeatureSource[],
  option: string,
): void {
  for (const { method, settings } of active) method.checkFeatures?.(settings, features, option);
}
