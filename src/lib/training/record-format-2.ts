/** Records of format 2: every model had a null class, and a run one batch size and first weights of its own. */
import { count, dictionaryOf, fields, readShape, type Shape } from '../formats/json-shape.js';

const anything: Shape<unknown> = (value) => value;
const OLD = fields({
  step: count,
  model: dictionaryOf(anything),
  training: dictionaryOf(anything),
  data: dictionaryOf(anything),
});

/**
 * The same record in the shape of format 3, whose reader checks what is not looked at here.
 * @throws DataError naming a field of another shape
 */
export function fromFormat2(record: Record<string, unknown>, source: string): Record<string, unknown> {
  const { step, model, training, data } = record;
  const old = readShape(OLD, { step, model, training, data }, source);
  const { batchSize } = readShape(fields({ batchSize: count }), { batchSize: old.training.batchSize }, source);
  return {
    ...record,
    model: { ...old.model, nullClass: true },
    data: { ...old.data, labelled: null },
    images: old.step * batchSize,
    origin: null,
  };
}
