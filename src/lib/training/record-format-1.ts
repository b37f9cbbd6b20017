/**
 * Records of format 1, as they were written up to version 0.1.0: what methods needed stood among the sizes of the model
 * and the settings of the training. Fields that came in while the format was 1 may be absent.
 */
import {
  count,
  dictionaryOf,
  fields,
  listOf,
  numeric,
  orNull,
  readShape,
  type Shape,
  words,
} from '../formats/json-shape.js';

const anything: Shape<unknown> = (value) => value;
const range = fields({ from: count, to: count });

/** Of the model, what is a method's today. */
const MODEL = fields({
  classTokenDim: count,
  fusion: orNull(range),
  projector: words,
  projectorDim: count,
  selfAlignment: anything,
  zDims: listOf(count),
});

const blocks = fields({ weight: numeric, block: count, teacher: count });

/** Of the training, what is a method's today. */
const TRAINING = fields({
  lambda: numeric,
  projectionLoss: words,
  spatialNorm: orNull(numeric),
  manifold: numeric,
  alignUntil: orNull(count),
  direction: numeric,
  contrastive: numeric,
  layerSync: orNull(blocks),
  dispersive: orNull(fields({ weight: numeric, block: count })),
  selfAlignment: orNull(fields({ weight: numeric, block: count, teacher: count, maxTimeShift: numeric })),
  classToken: numeric,
  representation: orNull(fields({ weight: numeric, channels: count })),
  route: orNull(fields({ share: numeric, blocks: range })),
  pathDrop: numeric,
});

/** What fields mean that a record does not have yet. */
const MODEL_DEFAULTS = {
  ...{ qkNorm: false, norm: 'layer', feedForward: 'gelu', rotary: false, reversedTime: false },
  ...{ classTokenDim: 0, fusion: null, projector: 'mlp', projectorDim: 2048, selfAlignment: false },
};
const TRAINING_DEFAULTS = {
  ...{ projectionLoss: 'cosine', spatialNorm: null, manifold: 0, alignUntil: null, direction: 0, contrastive: 0 },
  ...{ layerSync: null, dispersive: null, selfAlignment: null, classToken: 0, representation: null },
  ...{
    optimizer: 'adamw',
    warmup: 0,
    schedule: 'constant',
    scheduleSteps: null,
    timeShift: 1,
    precision: 'f32',
    route: null,
    pathDrop: 0,
  },
};

/** Parts an object into the fields that a method has today, and the others. */
function parted(value: Record<string, unknown>, names: readonly string[]) {
  const isMoved = ([key]: [string, unknown]): boolean => names.includes(key);
  const entries = Object.entries(value);
  return [Object.fromEntries(entries.filter(isMoved)), Object.fromEntries(entries.filter((each) => !isMoved(each)))];
}

const MOVED_MODEL = ['classTokenDim', 'fusion', 'projector', 'projectorDim', 'selfAlignment', 'zDims'];
const MOVED_TRAINING = [
  ...['lambda', 'projectionLoss', 'spatialNorm', 'manifold', 'alignUntil', 'direction', 'contrastive', 'layerSync'],
  ...['dispersive', 'selfAlignment', 'classToken', 'representation', 'route', 'pathDrop'],
];

/**
 * The same record in the shape of format 2, whose reader checks what is not a method's.
 * @throws DataError naming a field of another shape
 */
export function fromFormat1(record: Record<string, unknown>, source: string): Record<string, unknown> {
  const object = readShape(dictionaryOf(anything), record, source);
  const part = (name: 'model' | 'training', defaults: object) => ({
    ...defaults,
    ...readShape(fields({ [name]: dictionaryOf(anything) }), { [name]: object[name] }, source)[name],
  });
  const [movedModel, model] = parted(part('model', MODEL_DEFAULTS), MOVED_MODEL);
  const [movedTraining, training] = parted(part('training', TRAINING_DEFAULTS), MOVED_TRAINING);
  const old = readShape(
    fields({ model: MODEL, training: TRAINING }),
    { model: movedModel, training: movedTraining },
    source,
  );
  return { ...object, model, training, methods: methodsOf(old.model, old.training) };
}

type Old<S> = S extends Shape<infer T> ? T : never;

/** The settings of the methods that were on. */
function methodsOf(model: Old<typeof MODEL>, training: Old<typeof TRAINING>): Record<string, unknown> {
  const { zDims, projector, projectorDim, classTokenDim, fusion } = model;
  const { lambda, spatialNorm, manifold, alignUntil, direction, contrastive, route, pathDrop } = training;
  const { layerSync, dispersive, selfAlignment, classToken, representation, projectionLoss } = training;
  const followed = zDims.length > 0;
  const share = route?.share ?? 0;
  const all: Record<string, unknown> = {
    repa: followed && { lambda, projectionLoss, projectorDim, dims: zDims },
    irepa: followed && (projector === 'conv' || spatialNorm !== null) && { projector, spatialNorm },
    'u-repa': followed && manifold > 0 && { weight: manifold },
    haste: followed && alignUntil !== null && { until: alignUntil },
    redi: representation,
    reg: classTokenDim > 0 && { weight: classToken, dim: classTokenDim },
    direction: direction > 0 && { weight: direction },
    'delta-fm': contrastive > 0 && { weight: contrastive },
    'layer-sync': layerSync,
    dispersive,
    tread: route && !fusion && { share, ...route.blocks },
    sprint: fusion && { share, ...fusion, pathDrop },
    sra: selfAlignment,
  };
  return Object.fromEntries(Object.entries(all).filter(([, settings]) => settings));
}
