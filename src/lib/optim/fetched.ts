/** Parameters on a device, as the host reads them. */
import type { Residency } from '../engine/engine.js';
import type { StoredParameter } from './layout.js';

/** A parameter whose arrays are fetched from the device when they are read. */
export function fetched(parameter: StoredParameter, device: Residency): StoredParameter {
  const current = <T extends Float32Array | null>(array: T): T => {
    if (array) device.fetch(array);
    return array;
  };
  return {
    ...{ name: parameter.name, shape: parameter.shape, learning: parameter.learning },
    get value() {
      return current(parameter.value);
    },
    get averages() {
      return parameter.averages.map(current);
    },
    get gradient() {
      return current(parameter.gradient);
    },
    get accumulated() {
      return current(parameter.accumulated);
    },
    get firstMoment() {
      return current(parameter.firstMoment);
    },
    get secondMoment() {
      return current(parameter.secondMoment);
    },
  };
}
