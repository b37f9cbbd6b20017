/** How a program is compiled, as XLA's CompileOptionsProto (xla/pjrt/proto/compile_options.proto). */
import { ProtobufWriter } from '../../formats/protobuf.js';

/** Field numbers. */
const OPTIONS = { executableBuildOptions: 3 } as const;
const BUILD = { deviceOrdinal: 1, replicas: 4, partitions: 5 } as const;

/** For one device, or a replica on each of the first `replicas` devices. */
export function compileOptions(replicas: number): Uint8Array<ArrayBuffer> {
  const writer = new ProtobufWriter();
  writer.message(OPTIONS.executableBuildOptions, (build) => {
    build.integer(BUILD.deviceOrdinal, -1); // none in particular
    build.integer(BUILD.replicas, replicas);
    build.integer(BUILD.partitions, 1);
  });
  return writer.finish();
}
