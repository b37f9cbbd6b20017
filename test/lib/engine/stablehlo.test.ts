/** What recorded operations are written as in StableHLO. That XLA computes the same of it is tested by .ci/xla. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { OPERATION_NAMES } from '../../../src/lib/engine/graph/operations.js';
import { constant, op, scalar, Value } from '../../../src/lib/engine/graph/value.js';
import { lower, RULES } from '../../../src/lib/engine/xla/lower/index.js';
import { fixturePath } from '../../support.js';
import { SAMPLES } from './operation-samples.js';

const EXPECTED = 'stablehlo/operations.mlir';

/** The program of one operation's samples. */
const programOf = (name: keyof typeof SAMPLES): string => lower(SAMPLES[name](), [], { products: 'f32' }).text;

/** Programs of the file, by the comment in front of each. */
function expectedPrograms(): Map<string, string> {
  const parts = readFileSync(fixturePath(EXPECTED), 'utf8')
    .split(/^\/\/ (\w+)\n/m)
    .slice(1);
  return new Map(parts.flatMap((name, i) => (i % 2 === 0 ? [[name, parts[i + 1]] as const] : [])));
}

const input = (shape: readonly number[], dtype: 'float32' | 'int32' = 'float32') =>
  new Value(dtype, shape, { kind: 'input' });

describe('a recorded graph as StableHLO', () => {
  const expected = expectedPrograms();

  test('has a rule for each operation, and no others', () => {
    assert.deepEqual(Object.keys(RULES).sort(), [...OPERATION_NAMES].sort());
    assert.deepEqual([...expected.keys()].sort(), [...OPERATION_NAMES].sort());
  });

  for (const name of OPERATION_NAMES) {
    test(`${name} is written as it was when XLA computed it as ONNX Runtime does`, () => {
      assert.equal(programOf(name), expected.get(name));
    });
  }

  test('defines each value once, before it is used, and uses it in the type that it was defined with', () => {
    for (const name of OPERATION_NAMES) checkNames(programOf(name));
  });

  test('has products of bfloat16 summed in float32, and all else in float32', () => {
    const [a, b] = [input([3, 5]), input([5, 4])];
    const y = op('product', [a, b], { transposeA: false, transposeB: false, scale: 1 });
    const { text } = lower([op('binary', [y, scalar(2)], { function: 'multiply' })], [a, b], { products: 'bf16' });
    assert.match(text, /dot_general .* : \(tensor<3x5xbf16>, tensor<5x4xbf16>\) -> tensor<3x4xf32>/);
    assert.match(text, /multiply .* : tensor<3x4xf32>/);
    assert.match(text, /precision = \[DEFAULT, DEFAULT\]/);
    const whole = lower([y], [a, b], { products: 'f32' }).text;
    assert.doesNotMatch(whole, /bf16/);
    assert.match(whole, /precision = \[HIGHEST, HIGHEST\]/);
  });

  test('takes its inputs in the order given, those that nothing reads among them, then the other leaves', () => {
    const [unused, x] = [input([2], 'int32'), input([3])];
    const weight = new Value('float32', [3], { kind: 'data', data: Float32Array.of(1, 2, 3) });
    const y = op('binary', [x, weight], { function: 'add' });
    const { text, feeds } = lower([y], [unused, x], { products: 'f32' });
    assert.deepEqual(feeds, [unused, x, weight]);
    assert.match(text, /@main\(%arg0: tensor<2xi32>, %arg1: tensor<3xf32>, %arg2: tensor<3xf32>\)/);
    assert.match(text, /add %arg1, %arg2/);
  });

  test('feeds an array once, as a vector where it lies on the device, and says which output takes over its memory', () => {
    const data = new Float32Array(6);
    const [matrix, turned] = [
      [2, 3],
      [3, 2],
    ].map((shape) => new Value('float32', shape, { kind: 'data', data }));
    const sum = op('binary', [op('transpose', [matrix], { order: [1, 0] }), turned], { function: 'add' });
    const options = { products: 'f32', takers: new Map([[data, 0]]), isFlat: () => true } as const;
    const { text, feeds } = lower([sum], [], options);
    assert.equal(feeds.length, 1);
    assert.match(text, /@main\(%arg0: tensor<6xf32> \{tf.aliasing_output = 0 : i32\}\) -> \(tensor<6xf32>\)/);
    assert.match(text, /reshape %arg0 : \(tensor<6xf32>\) -> tensor<2x3xf32>/);
  });

  test('sums its outputs over the devices that share the work', () => {
    const x = input([3]);
    const y = op('binary', [x, x], { function: 'multiply' });
    const { text } = lower([y], [x], { products: 'f32', replicas: 2, sum: true });
    assert.match(text, /^module @repa attributes \{mhlo.num_replicas = 2 : i32\}/);
    assert.match(text, /all_reduce"\(%0\) <\{replica_groups = dense<\[\[0, 1\]\]> : tensor<1x2xi64>/);
    assert.doesNotMatch(lower([y], [x], { products: 'f32', replicas: 2 }).text, /all_reduce/);
  });

  test('writes every number so that it is read as the same one', () => {
    const numbers = [0, -0, 1, 0.1, 1e-45, 3.4028234663852886e38, 16777216, -1.0000001192092896];
    for (const number of numbers.map(Math.fround)) {
      const { text } = lower([op('reshape', [scalar(number)], { shape: [1] })], [], { products: 'f32' });
      const [, written] = /dense<([^>]*)>/.exec(text)!;
      assert.match(written, /^-?\d+\.\d+(e[-+]\d+)?$/);
      assert.equal(Math.fround(Number(written)), number);
    }
    const infinite = lower([op('reshape', [scalar(Number.NEGATIVE_INFINITY)], { shape: [1] })], [], {
      products: 'f32',
    });
    assert.match(infinite.text, /dense<0xFF800000>/);
    const values = constant(Float32Array.of(1, 2), 'float32', [2]);
    const { text } = lower([op('reshape', [values], { shape: [2, 1] })], [], { products: 'f32' });
    assert.match(text, /dense<"0x0000803F00000040">/);
  });
});

/** Follows the names through a program. */
function checkNames(program: string): void {
  const types = new Map<string, string>();
  const [, parameters] = /@main\((.*)\) -> /.exec(program)!;
  for (const [, name, type] of parameters.matchAll(/(%\w+): (tensor<[^>]*>)/g)) types.set(name, type);
  for (const line of program.split('\n').filter((line) => /^%\d+/.test(line))) {
    const [, name, count, body] = /^(%\d+)(?::(\d+))? = (.*)$/.exec(line)!;
    const [code, ...rest] = body.replace(/\(\{.*\}\)/, '').split(' : ');
    const used = [...code.matchAll(/%\w+(#\d+)?/g)].map(([reference]) => reference);
    const [operands, results] = splitTypes(rest.at(-1)!);
    used.forEach((reference, i) => {
      assert.ok(types.has(reference), `${reference} is used before it is defined: ${line}`);
      assert.equal(types.get(reference), operands[Math.min(i, operands.length - 1)], line);
    });
    assert.ok(!types.has(name), line);
    if (!count) types.set(name, results.at(-1)!);
    else for (let i = 0; i < Number(count); i++) types.set(`${name}#${i}`, results[i]);
  }
}

/** `(a, b) -> c`, or `a`, or `a, b`. */
function splitTypes(text: string): [string[], string[]] {
  const tensors = (part: string) => part.match(/tensor<[^>]*>/g) ?? [];
  const [left, right] = text.split(' -> ');
  return right ? [tensors(left), tensors(right)] : [tensors(left), tensors(left)];
}
