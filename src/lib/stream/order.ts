/**
 * The order of messages: schema, batches of which the last says so, end-of-stream marker; then the input ends, or
 * another stream with equal fields follows (`cat a b`) and continues it.
 */
import { nextLink } from './chain.js';
import { type BatchHead, dataError, type SchemaHead, type Site, truncated } from './message.js';
import { type StreamSchema, sameColumns, showColumn } from './schema.js';

export class StreamOrder {
  /** Of the first stream: when several are concatenated its metadata stands for all, the others' is ignored. */
  schema: StreamSchema | null = null;
  /** Rows so far, over all concatenated streams. */
  rows = 0;
  #state: 'between' | 'open' | 'last' = 'between';
  #streamStart = 0;
  /** What the next batch must carry; undefined in a stream of version 1. */
  #link: string | undefined;

  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  acceptSchema(site: Site, { schema, link }: SchemaHead): void {
    if (this.#state !== 'between')
      throw truncated(site, `another stream begins after ${this.rows} rows, where the end should be`);
    if (this.schema && !sameColumns(this.schema.columns, schema.columns)) {
      const [first, second] = [this.schema, schema].map(({ columns }) => columns.map(showColumn).join(', '));
      throw dataError(site, `the stream that begins here has other fields (${second}) than the first (${first})`);
    }
    this.schema ??= schema;
    this.#state = 'open';
    this.#streamStart = this.rows;
    this.#link = link;
  }

  acceptBatch(batch: BatchHead): void {
    const expected = this.rows - this.#streamStart;
    if (this.#state !== 'open') throw dataError(batch.site, 'corrupt: a batch outside a stream');
    if (batch.row !== expected) {
      throw dataError(batch.site, `corrupt: a batch of rows from ${batch.row} on where row ${expected} is due`);
    }
    if (batch.after !== this.#link) {
      throw dataError(batch.site, `corrupt: the batch from row ${batch.row} on follows other batches than those here`);
    }
    if (this.#link !== undefined) this.#link = nextLink(this.#link, batch.headCrc, batch.bodyCrc);
    if (batch.last) this.#state = 'last';
    this.rows += batch.layout.rows;
  }

  acceptEnd(site: Site): void {
    if (this.#state === 'between') throw dataError(site, 'corrupt: an end-of-stream marker outside a stream');
    if (this.#state === 'open') throw truncated(site, `the last batch is missing, after ${this.rows} rows`);
    this.#state = 'between';
  }

  /** The end of the input. */
  finish(byte: number): void {
    const site = { name: this.#name, byte };
    if (!this.schema) throw dataError(site, 'empty: no stream begins here');
    if (this.#state !== 'between')
      throw truncated(site, `the end-of-stream marker is missing, after ${this.rows} rows`);
  }
}
