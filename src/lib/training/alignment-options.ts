/** What the options of `repa train` ask of the alignment. */
import type { ProjectionObjective } from '../align/projection-loss.js';
import type { AlignmentSettings } from '../align/settings.js';
import { UsageError } from '../errors.js';
import { checkNeeds } from './option-needs.js';

/** Block and teacher, counted from 1. */
export type BlockPair = readonly [block: number, teacher: number];

export interface AlignmentOptions {
  lambda: number;
  projectionLoss: ProjectionObjective;
  projector: 'mlp' | 'conv';
  spatialNorm?: number;
  manifold: number;
  alignUntil?: number;
  direction: number;
  contrastive: number;
  layerSync: number;
  layerSyncBlocks?: BlockPair;
  dispersive: number;
  dispersiveBlock?: number;
  sra: number;
  sraBlocks?: BlockPair;
  classToken: number;
  representation: number;
  representationChannels?: number;
}

/** How many components ReDi generates. */
export const REDI_CHANNELS = 8;

/** The most by which SRA's teacher is earlier (its paper's choice). */
const SRA_TIME_SHIFT = 0.2;

/**
 * The settings of a model with `depth` blocks. Where options leave blocks open, they are at the depth of the papers'
 * models: LayerSync 8 and 16 of 28 blocks, SRA 8 and 20 of 28 or 4 and 8 of 12, dispersion at a quarter.
 * @throws UsageError for an option without the one that it belongs to, and for blocks that there are not
 */
export function alignmentSettings(options: AlignmentOptions, depth: number, alignDepth: number): AlignmentSettings {
  checkDependencies(options);
  const at = (share: number): number => Math.max(1, Math.min(depth, Math.round(share * depth)));
  const pair = (name: string, given: BlockPair | undefined, teacherShare: number): BlockPair => {
    const later = Math.max(2, at(teacherShare));
    const [block, teacher] = given ?? [Math.min(alignDepth, later - 1), later];
    if (block >= 1 && block < teacher && teacher <= depth) return [block, teacher];
    throw new UsageError(
      `${name} ${block},${teacher}: an earlier block follows a later one of the model's ${depth}`,
      'Name both, such as 4,8.',
    );
  };
  const synced = options.layerSync > 0 ? pair('--layer-sync-blocks', options.layerSyncBlocks, 16 / 28) : undefined;
  const taught = options.sra > 0 ? pair('--sra-blocks', options.sraBlocks, 0.7) : undefined;
  const dispersed = options.dispersiveBlock ?? at(1 / 4);
  if (dispersed > depth) throw new UsageError(`--dispersive-block ${dispersed}: the model has ${depth} blocks`);
  return {
    lambda: options.lambda,
    projectionLoss: options.projectionLoss,
    spatialNorm: options.spatialNorm ?? null,
    manifold: options.manifold,
    alignUntil: options.alignUntil ?? null,
    direction: options.direction,
    contrastive: options.contrastive,
    layerSync: synced ? { weight: options.layerSync, block: synced[0], teacher: synced[1] } : null,
    dispersive: options.dispersive > 0 ? { weight: options.dispersive, block: dispersed } : null,
    selfAlignment: taught
      ? { weight: options.sra, block: taught[0], teacher: taught[1], maxTimeShift: SRA_TIME_SHIFT }
      : null,
    classToken: options.classToken,
    representation:
      options.representation > 0
        ? { weight: options.representation, channels: options.representationChannels ?? REDI_CHANNELS }
        : null,
  };
}

function checkDependencies(options: AlignmentOptions): void {
  const { lambda, projector, spatialNorm, manifold, alignUntil } = options;
  checkNeeds([
    ['--projector conv', projector === 'conv', '--lambda', lambda > 0],
    ['--spatial-norm', spatialNorm !== undefined, '--lambda', lambda > 0],
    ['--manifold', manifold > 0, '--lambda', lambda > 0],
    ['--align-until', alignUntil !== undefined, '--lambda', lambda > 0],
    ['--layer-sync-blocks', options.layerSyncBlocks !== undefined, '--layer-sync', options.layerSync > 0],
    ['--dispersive-block', options.dispersiveBlock !== undefined, '--dispersive', options.dispersive > 0],
    ['--sra-blocks', options.sraBlocks !== undefined, '--sra', options.sra > 0],
    [
      '--representation-channels',
      options.representationChannels !== undefined,
      '--representation',
      options.representation > 0,
    ],
  ]);
}
