/** How a program is compiled, as XLA's CompileOptionsProto (xla/pjrt/proto/compile_options.proto). */
import { ProtobufWriter } from '../../formats/protobuf.js';

/** Field numbers. */
const OPTIONS = { executableBuildOptions: 3, overrides: 7 } as const;
const BUILD = { deviceOrdinal: 1, replicas: 4, partitions: 5 } as const;
const OVERRIDE = { key: 1, value: 2 } as const;
const VALUE = { string: 1 } as const;

export type Flags = Readonly<Record<string, string>>;

export const NO_FLAGS: Flags = {};

/**
 * Flags of XLA that its processor's client needs: its YNNPACK emitter ends the process where a product of bfloat16 is
 * summed up (TensorFlow 2.21: `Check failed: lhs->shape().element_type()`), so nothing is left to it.
 */
export const CPU_FLAGS: Flags = { xla_cpu_experimental_ynn_fusion_type: '' };

/**
 * For one device, or a replica on each of the first `replicas` devices.
 * @param flags of XLA, over those of the environment's XLA_FLAGS; a compiler refuses those that it does not know
 */
export function compileOptions(replicas: number, flags: Flags): Uint8Array<ArrayBuffer> {
  const writer = new ProtobufWriter();
  writer.message(OPTIONS.executableBuildOptions, (build) => {
    build.integer(BUILD.deviceOrdinal, -1); // none in particular
    build.integer(BUILD.replicas, replicas);
    build.integer(BUILD.partitions, 1);
  });
  for (const [name, setting] of Object.entries(flags)) {
    writer.message(OPTIONS.overrides, (override) => {
      override.string(OVERRIDE.key, name);
      override.message(OVERRIDE.value, (value) => value.string(VALUE.string, setting));
    });
  }
  return writer.finish();
}
