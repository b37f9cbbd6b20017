/**
 * An ONNX network whose weights say nothing: the entries of each tensor of weights are put in another order, so that
 * every layer keeps the distribution of its weights and its activations their scale, and what was learned is gone.
 *
 *     node dist/examples/random-weights.js network.onnx random.onnx
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { writeFileAtomic, writeFully } from '../src/lib/files/atomic-file.js';
import { type ProtobufField, protobufFields } from '../src/lib/formats/protobuf-fields.js';
import { PURPOSE, permutation } from '../src/lib/numbers/random.js';

/** Field numbers of onnx.proto. */
const [GRAPH, INITIALIZER, DATA_TYPE, FLOAT_DATA, RAW_DATA] = [7, 5, 2, 4, 9];
/** Bytes of an entry, by TensorProto.DataType: f32 and f16. */
const WIDTHS = new Map([
  [1n, 4],
  [10n, 2],
]);

const { positionals } = parseArgs({ allowPositionals: true });
const [network, out] = positionals;
const model = readFileSync(network);
const fieldsOf = (found: ProtobufField): ProtobufField[] =>
  found.wire === 2 ? [...protobufFields(found.bytes, network)] : [];

/** Puts entries in another order, in place. */
function reorder(entries: Buffer, width: number, tensor: number): void {
  const learned = Buffer.from(entries);
  permutation(entries.length / width, 0, PURPOSE.shuffle, 0, tensor).forEach((from, i) => {
    learned.copy(entries, i * width, from * width, (from + 1) * width);
  });
}

const graphs = [...protobufFields(model, network)].filter(({ field }) => field === GRAPH);
const tensors = graphs.flatMap(fieldsOf).filter(({ field }) => field === INITIALIZER);
tensors.forEach((tensor, i) => {
  const parts = fieldsOf(tensor);
  const type = parts.find(({ field }) => field === DATA_TYPE);
  const width = type?.wire === 0 ? WIDTHS.get(type.value) : undefined;
  const data = parts.find(({ field }) => field === RAW_DATA) ?? parts.find(({ field }) => field === FLOAT_DATA);
  if (width !== undefined && data?.wire === 2) reorder(data.bytes, width, i);
});
writeFileAtomic(out, (fd) => writeFully(fd, model));
