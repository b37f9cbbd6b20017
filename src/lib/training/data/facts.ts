/** The facts of a stream of training data by which a run recognises it. */
import type { TensorFile } from '../../stream/file.js';

export interface DataFacts {
  /** The header. */
  metadata: Readonly<Record<string, string>>;
  /** Hash of what the rows hold; absent where nothing is stored. */
  content?: string;
}

export const factsOf = ({ schema, content }: Pick<TensorFile, 'schema' | 'content'>): DataFacts => ({
  metadata: schema.metadata,
  content,
});
