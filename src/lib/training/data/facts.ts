/** What is known of a stream of training data, by which a run knows it again. */
import type { TensorFile } from '../../stream/file.js';

export interface DataFacts {
  /** The header. */
  metadata: Readonly<Record<string, string>>;
  /** Digits of what the rows hold; absent where nothing is stored. */
  content?: string;
}

export const factsOf = ({ schema, content }: Pick<TensorFile, 'schema' | 'content'>): DataFacts => ({
  metadata: schema.metadata,
  content,
});
