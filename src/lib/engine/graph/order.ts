/** The order in which a recorded graph runs. */
import type { Operation, Value } from './value.js';

/** What has to run, in order, to know `wanted`, and the values it starts from. */
export function sortOperations(wanted: readonly Value[]): { operations: Operation[]; leaves: Value[] } {
  const visited = new Set<Operation>();
  const leaves = new Set<Value>();
  const operations: Operation[] = [];
  // An explicit stack: the backward pass of a deep network is deeper than the call stack allows.
  const stack: { operation: Operation; next: number }[] = [];
  const enter = (value: Value) => {
    if (!value.producer) leaves.add(value);
    else if (!visited.has(value.producer)) {
      visited.add(value.producer);
      stack.push({ operation: value.producer, next: 0 });
    }
  };
  for (const value of wanted) {
    enter(value);
    while (stack.length > 0) {
      const frame = stack[stack.length - 1];
      if (frame.next < frame.operation.inputs.length) enter(frame.operation.inputs[frame.next++]);
      else {
        operations.push(frame.operation);
        stack.pop();
      }
    }
  }
  return { operations, leaves: [...leaves] };
}
