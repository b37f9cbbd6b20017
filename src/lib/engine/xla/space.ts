/**
 * Rows that stay on the devices between programs, and the arithmetic on them: in f64, as samplers do it on the host.
 */
import { sizeOf, type TypedArray } from '../../numbers/typed-array.js';
import type { Constants, DeviceRows, DeviceSpace, RowProgram, TensorFunction, TensorSpec } from '../engine.js';
import type { ElementType } from '../graph/operations.js';
import { trace } from '../graph/trace.js';
import { ARRAYS, type Value } from '../graph/value.js';
import { PjrtError } from './c-api.js';
import type { Client, DeviceBuffer } from './client.js';
import { NotCompiledError } from './errors.js';
import type { XlaProgram } from './program.js';
import * as graphs from './space-graphs.js';
import type { XlaTarget } from './target.js';

/**
 * Rows [rows, size] as devices have them: of each of the `copies` that follow each other, every device has its share.
 */
class XlaRows implements DeviceRows {
  constructor(
    /** By device. */
    readonly buffers: readonly DeviceBuffer[],
    readonly dtype: ElementType,
    readonly rows: number,
    readonly size: number,
    readonly copies: number,
  ) {}

  /** Rows of one device: those behind the last are zeros. */
  get local(): number {
    return localRows(this.rows, this.copies, this.buffers.length);
  }

  get type(): graphs.RowType {
    return { dtype: this.dtype, rows: this.local, size: this.size };
  }

  dispose(): void {
    for (const buffer of this.buffers) buffer.dispose();
  }
}

const localRows = (rows: number, copies: number, devices: number): number =>
  copies * Math.ceil(rows / copies / devices);

/** How rows are divided. */
type Division = Pick<XlaRows, 'rows' | 'copies'>;

/** What each device has of an array of rows. */
function shares(array: TypedArray, { rows, copies }: Division, devices: number): TypedArray[] {
  if (devices === 1) return [array];
  const own = rows / copies;
  const share = Math.ceil(own / devices);
  const size = array.length / rows;
  return Array.from({ length: devices }, (_, device) => {
    const part = new (array.constructor as new (length: number) => TypedArray)(copies * share * size);
    const [first, end] = [device * share, Math.min(own, (device + 1) * share)];
    for (let copy = 0; copy < copies && first < end; copy++) {
      const taken = array.subarray((copy * own + first) * size, (copy * own + end) * size);
      (part as Float32Array).set(taken as Float32Array, copy * share * size);
    }
    return part;
  });
}

/** The programs of a device's arithmetic, compiled once for all spaces. */
export class XlaSpaces {
  readonly #programs = new Map<string, XlaProgram>();
  #hasDouble: boolean | undefined;

  constructor(readonly target: XlaTarget) {}

  /** Null where the devices do not compute in f64: states are then the host's. */
  open(): DeviceSpace | null {
    this.#hasDouble ??= this.#triesDouble();
    return this.#hasDouble ? new XlaSpace(this) : null;
  }

  #triesDouble(): boolean {
    const space = new XlaSpace(this);
    try {
      space.combine([1], [space.from(Float64Array.of(1), 1)]);
      return true;
    } catch (error) {
      if (error instanceof NotCompiledError || error instanceof PjrtError) return false;
      throw error;
    } finally {
      space.keep();
    }
  }

  get client(): Client {
    return this.target.copies.client;
  }

  program(key: string, make: () => graphs.RowGraph): XlaProgram {
    const known = this.#programs.get(key);
    if (known) return known;
    const program = this.load(make(), 'feed');
    this.#programs.set(key, program);
    return program;
  }

  load({ inputs, outputs }: graphs.RowGraph, constants: Constants): XlaProgram {
    const devices = this.client.devices.length > 1 ? 'rows' : 'one';
    return this.target.load(outputs, inputs, constants, { devices });
  }

  upload(array: TypedArray, dtype: ElementType, division: Division, shape: readonly number[]): DeviceBuffer[] {
    const { devices } = this.client;
    return shares(array, division, devices.length).map((part, i) => this.client.upload(part, shape, dtype, devices[i]));
  }
}

class XlaSpace implements DeviceSpace {
  /** What was made here and not let go of. */
  #alive: XlaRows[] = [];

  constructor(readonly spaces: XlaSpaces) {}

  program(fn: TensorFunction, inputs: (rows: number) => readonly TensorSpec[], constants: Constants): RowProgram {
    const program = new XlaRowProgram(this.spaces, fn, inputs, constants);
    return {
      run: (...given) => program.run(given as [XlaRows, ...(XlaRows | TypedArray)[]]).map((rows) => this.#made(rows)),
      dispose: () => program.dispose(),
    };
  }

  from(values: Float32Array | Float64Array, rows: number): XlaRows {
    const size = values.length / rows;
    const division = { rows, copies: 1 };
    const local = localRows(rows, 1, this.spaces.client.devices.length);
    const buffers = this.spaces.upload(Float64Array.from(values), 'float64', division, [local, size]);
    return this.#made(new XlaRows(buffers, 'float64', rows, size, 1));
  }

  single(state: XlaRows): XlaRows {
    return state; // programs round what they are given
  }

  combine(weights: readonly (number | Float64Array)[], terms: readonly XlaRows[]): XlaRows {
    const [{ rows, copies, size, local }] = terms;
    const count = weights.length;
    const table = new Float64Array(rows * count);
    weights.forEach((weight, k) => {
      for (let row = 0; row < rows; row++) {
        table[row * count + k] = typeof weight === 'number' ? weight : weight[row % weight.length];
      }
    });
    const types = terms.map(({ type }) => type);
    const sent = this.spaces.upload(table, 'float64', { rows, copies }, [local, count]);
    const made = this.#compute(keyOf('combine', types), () => graphs.combination(types), [sent, ...terms]);
    dispose(sent);
    return this.#made(new XlaRows(made[0], 'float64', rows, size, copies));
  }

  choose(first: readonly boolean[], a: XlaRows, b: XlaRows): XlaRows {
    const { rows, copies, size, local } = a;
    const marks = Int32Array.from({ length: rows }, (_, row) => (first[row % first.length] ? 1 : 0));
    const types = [a.type, b.type];
    const sent = this.spaces.upload(marks, 'int32', { rows, copies }, [local, 1]);
    const made = this.#compute(keyOf('choose', types), () => graphs.choice(types), [sent, a, b]);
    dispose(sent);
    return this.#made(new XlaRows(made[0], 'float64', rows, size, copies));
  }

  async ratios(
    values: XlaRows,
    sizes: readonly [XlaRows, XlaRows],
    tolerance: { absolute: number; relative: number },
    rows: number,
  ): Promise<Float64Array> {
    const types = [values, ...sizes].map(({ type }) => type);
    const key = keyOf(`ratios ${tolerance.absolute} ${tolerance.relative}`, types);
    const [buffers] = this.#compute(key, () => graphs.squareRatios(types, tolerance), [values, ...sizes]);
    const squares = await this.read(new XlaRows(buffers, 'float64', values.rows, 1, 1));
    dispose(buffers);
    const together = values.rows / rows;
    return Float64Array.from({ length: rows }, (_, row) => {
      const own = squares.subarray(row * together, (row + 1) * together);
      return Math.sqrt(own.reduce((sum, square) => sum + square, 0) / together);
    });
  }

  twice(x: XlaRows): XlaRows {
    const [buffers] = this.#compute(keyOf('twice', [x.type]), () => graphs.twice(x.type), [x]);
    return this.#made(new XlaRows(buffers, x.dtype, 2 * x.rows, x.size, 2 * x.copies));
  }

  halves(x: XlaRows): [XlaRows, XlaRows] {
    const made = this.#compute(keyOf('halves', [x.type]), () => graphs.halves(x.type), [x]);
    const [first, second] = made.map((buffers) =>
      this.#made(new XlaRows(buffers, x.dtype, x.rows / 2, x.size, x.copies / 2)),
    );
    return [first, second];
  }

  sizeOf({ size }: XlaRows): number {
    return size;
  }

  columns(x: XlaRows, start: number, end: number): XlaRows {
    const key = keyOf(`columns ${start} ${end}`, [x.type]);
    const [buffers] = this.#compute(key, () => graphs.columns(x.type, start, end), [x]);
    return this.#made(new XlaRows(buffers, x.dtype, x.rows, end - start, x.copies));
  }

  join(parts: readonly XlaRows[]): XlaRows {
    const types = parts.map(({ type }) => type);
    const [buffers] = this.#compute(keyOf('join', types), () => graphs.join(types), parts);
    const [{ rows, copies }] = parts;
    const size = parts.reduce((sum, part) => sum + part.size, 0);
    return this.#made(new XlaRows(buffers, 'float64', rows, size, copies));
  }

  async read({ buffers, dtype, rows, size, copies, local }: XlaRows): Promise<Float64Array> {
    if (copies > 1) throw new Error('rows that are there more than once are not read');
    const whole = new Float64Array(rows * size);
    for (const [device, buffer] of buffers.entries()) {
      const part = new ARRAYS[dtype](local * size);
      await buffer.readAsync(part);
      const first = device * local;
      whole.set(part.subarray(0, Math.max(0, Math.min(local, rows - first)) * size), Math.min(first, rows) * size);
    }
    return whole;
  }

  keep(...rows: readonly XlaRows[]): void {
    for (const made of this.#alive) if (!rows.includes(made)) made.dispose();
    this.#alive = [...rows];
  }

  #made(rows: XlaRows): XlaRows {
    this.#alive.push(rows);
    return rows;
  }

  #compute(
    key: string,
    make: () => graphs.RowGraph,
    inputs: readonly (XlaRows | readonly DeviceBuffer[])[],
  ): DeviceBuffer[][] {
    const program = this.spaces.program(key, make);
    return program.keep(inputs.map((input) => (input instanceof XlaRows ? input.buffers : input)));
  }
}

const keyOf = (name: string, types: readonly graphs.RowType[]): string =>
  [name, ...types.map(({ dtype, rows, size }) => `${dtype} ${rows}x${size}`)].join(', ');

function dispose(buffers: readonly DeviceBuffer[]): void {
  for (const buffer of buffers) buffer.dispose();
}

/** What was sent for an input, for the case that it is given again. */
interface Sent extends Division {
  readonly array: TypedArray;
  readonly buffers: DeviceBuffer[];
}

/** A function of rows, compiled once for each number of them that occurs. */
class XlaRowProgram {
  readonly #compiled = new Map<number, { program: XlaProgram; outputs: readonly Value[] }>();
  readonly #sent: (Sent | undefined)[] = [];

  constructor(
    readonly spaces: XlaSpaces,
    readonly fn: TensorFunction,
    readonly inputs: (rows: number) => readonly TensorSpec[],
    readonly constants: Constants,
  ) {}

  run(given: readonly [XlaRows, ...(XlaRows | TypedArray)[]]): XlaRows[] {
    const [{ rows, copies, local }] = given;
    const specs = this.inputs(local);
    const { program, outputs } = this.#compile(local, specs);
    const made = program.keep(
      given.map((input, i) =>
        input instanceof XlaRows ? input.buffers : this.#send(i, input as TypedArray, specs[i], { rows, copies }),
      ),
    );
    return outputs.map(({ dtype, shape }, i) => new XlaRows(made[i], dtype, rows, sizeOf(shape) / local, copies));
  }

  dispose(): void {
    for (const { program } of this.#compiled.values()) program.dispose();
    for (const sent of this.#sent) dispose(sent?.buffers ?? []);
    this.#compiled.clear();
    this.#sent.length = 0;
  }

  #compile(rows: number, specs: readonly TensorSpec[]) {
    const known = this.#compiled.get(rows);
    if (known) return known;
    const graph = trace(this.fn, specs);
    const made = { program: this.spaces.load(graph, this.constants), outputs: graph.outputs };
    this.#compiled.set(rows, made);
    return made;
  }

  #send(index: number, array: TypedArray, { dtype, shape }: TensorSpec, division: Division): DeviceBuffer[] {
    const last = this.#sent[index];
    const isSame = last?.array === array && last.rows === division.rows && last.copies === division.copies;
    if (isSame) return last.buffers;
    dispose(last?.buffers ?? []);
    const buffers = this.spaces.upload(array, dtype, division, shape);
    this.#sent[index] = { array, buffers, ...division };
    return buffers;
  }
}
