/** Where each parameter, its gradient and its optimizer state lie. */
import { sizeOf } from '../numbers/typed-array.js';
import { alignedLength, BYTES_PER_FLOAT, VectorMemory } from './memory.js';

/** How a parameter is learned. Frozen ones are not: they have averages, but no gradient. */
export type Learning = 'adamw' | 'muon' | 'frozen';

export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Copied; zeros by default. */
  readonly data?: Float32Array;
  /** Default `adamw`; `muon` is for matrices. */
  readonly learning?: Learning;
}

/** One parameter; the arrays are views of its place, to be read and written. */
export interface StoredParameter {
  readonly name: string;
  readonly shape: readonly number[];
  readonly learning: Learning;
  readonly value: Float32Array<ArrayBuffer>;
  /** Its moving averages, one for each decay. */
  readonly averages: readonly Float32Array<ArrayBuffer>[];
  /** Null, as the moments are, for a frozen parameter. */
  readonly gradient: Float32Array<ArrayBuffer> | null;
  /** The sum of the gradients of earlier batches; null where no memory is reserved for it. */
  readonly accumulated: Float32Array<ArrayBuffer> | null;
  /** For Muon, the momentum. */
  readonly firstMoment: Float32Array<ArrayBuffer> | null;
  /** Null for Muon. */
  readonly secondMoment: Float32Array<ArrayBuffer> | null;
}

/** Parameters that are learned alike, in one memory. */
export interface ParameterGroup {
  readonly memory: VectorMemory;
  readonly parameters: readonly StoredParameter[];
}

export interface Layout {
  /** In the order of the specifications. */
  readonly parameters: readonly StoredParameter[];
  readonly groups: Readonly<Record<Learning, readonly ParameterGroup[]>>;
}

export interface LayoutOptions {
  /** Whether to reserve memory to sum the gradients of several batches. */
  accumulation: boolean;
  /** How many moving averages are kept. */
  averages: number;
  /** Most bytes of one memory; as many memories are made as are needed. */
  memoryBytes: number;
}

/** The vector of the moving average number `index`. */
export const averageVector = (index: number): string => `average${index}`;

const MOMENTS: Readonly<Record<Learning, readonly string[]>> = {
  frozen: [],
  muon: ['gradient', 'firstMoment'],
  adamw: ['gradient', 'firstMoment', 'secondMoment'],
};

/** @throws UnavailableError when memory runs out */
export function layOut(specs: readonly ParameterSpec[], options: LayoutOptions): Layout {
  const place = (learning: Learning): ParameterGroup[] => {
    const vectors = vectorsOf(learning, options);
    const chosen = specs.filter((spec) => (spec.learning ?? 'adamw') === learning);
    const parts = divide(chosen, Math.floor(options.memoryBytes / (vectors.length * BYTES_PER_FLOAT)));
    return parts.map((part) => placeGroup(part, learning, vectors, options.averages));
  };
  const groups = { adamw: place('adamw'), muon: place('muon'), frozen: place('frozen') };
  const stored = new Map(
    Object.values(groups)
      .flat()
      .flatMap(({ parameters }) => parameters.map((parameter) => [parameter.name, parameter])),
  );
  return { parameters: specs.map(({ name }) => stored.get(name)!), groups };
}

/** The vectors of a memory: each holds one quantity of all its parameters. */
function vectorsOf(learning: Learning, { averages, accumulation }: LayoutOptions): string[] {
  const accumulated = accumulation && learning !== 'frozen' ? ['accumulated'] : [];
  return [
    'value',
    ...Array.from({ length: averages }, (_, i) => averageVector(i)),
    ...MOMENTS[learning],
    ...accumulated,
  ];
}

const totalLength = (specs: readonly ParameterSpec[]): number =>
  specs.reduce((total, { shape }) => total + alignedLength(sizeOf(shape)), 0);

/** Cuts a list into parts of at most `limit` floats; a larger parameter gets a part of its own. */
function divide(specs: readonly ParameterSpec[], limit: number): ParameterSpec[][] {
  const parts: ParameterSpec[][] = [];
  for (const spec of specs) {
    const last = parts.at(-1);
    if (last && totalLength([...last, spec]) <= limit) last.push(spec);
    else parts.push([spec]);
  }
  return parts;
}

function placeGroup(
  specs: readonly ParameterSpec[],
  learning: Learning,
  vectors: readonly string[],
  averages: number,
): ParameterGroup {
  const memory = new VectorMemory(totalLength(specs), vectors);
  let start = 0;
  const parameters = specs.map((spec) => {
    const parameter = storeIn(memory, start, spec, learning, averages);
    start += alignedLength(sizeOf(spec.shape));
    return parameter;
  });
  return { memory, parameters };
}

function storeIn(
  memory: VectorMemory,
  start: number,
  { name, shape, data }: ParameterSpec,
  learning: Learning,
  averages: number,
): StoredParameter {
  const length = sizeOf(shape);
  const view = (vector: string) => memory.view(vector, start, length);
  const viewIfKept = (vector: string) => (memory.vectors.includes(vector) ? view(vector) : null);
  const stored = {
    name,
    shape,
    learning,
    value: view('value'),
    averages: Array.from({ length: averages }, (_, i) => view(averageVector(i))),
    gradient: viewIfKept('gradient'),
    accumulated: viewIfKept('accumulated'),
    firstMoment: viewIfKept('firstMoment'),
    secondMoment: viewIfKept('secondMoment'),
  };
  if (data) {
    if (data.length !== length) throw new Error(`parameter ${name}: ${data.length} elements are not [${shape}]`);
    for (const array of [stored.value, ...stored.averages]) array.set(data);
  }
  return stored;
}
