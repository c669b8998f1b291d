/** Encoding: staged rows become the flat arrays of a dataset, in order. */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import type { ArtifactWriter } from "../artifact.ts";
import { type DatasetBody, type Split, splitFiles, SPLITS } from "./dataset.ts";
import { type Dictionary, hashWords } from "./dictionary.ts";
import { type Engine, lists, numbers } from "./duckdb.ts";
import type { SparseColumn } from "./schema.ts";

const CHUNK_ROWS = 2048; // DuckDB's vector size

/** A run of staged rows that goes to one split. */
export interface Part {
  readonly split: Split;
  readonly samples: number;
}

/** Encodes chunks of staged rows into memory that it reuses. */
class ChunkEncoder {
  readonly labels = new Uint8Array(CHUNK_ROWS);
  readonly dense: Float32Array;
  indices: Uint32Array;
  /** Lookups of each bag, (rows, tables). */
  readonly bagLengths: Uint32Array;
  /** First lookup of each row in `indices`, then the end. */
  readonly rowStarts = new Uint32Array(CHUNK_ROWS + 1);
  readonly #columns: readonly SparseColumn[];
  readonly #dictionaries: readonly Dictionary[];
  readonly #firstRows: Float64Array;

  constructor(readonly denseFeatures: number, columns: readonly SparseColumn[], dictionaries: readonly Dictionary[]) {
    this.#columns = columns;
    this.#dictionaries = dictionaries;
    this.dense = new Float32Array(CHUNK_ROWS * denseFeatures);
    this.indices = new Uint32Array(CHUNK_ROWS * columns.length);
    this.bagLengths = new Uint32Array(CHUNK_ROWS * columns.length).fill(1);
    this.#firstRows = new Float64Array(columns.length);
    for (let t = 1; t < columns.length; t++) this.#firstRows[t] = this.#firstRows[t - 1] + dictionaries[t - 1].rows;
  }

  /** The columns that `encode` expects, as SQL. */
  get selection(): string {
    const dense = Array.from({ length: this.denseFeatures }, (_, d) => `d${d}`);
    const hashes = this.#columns.map(({ kind }, t) =>
      kind === "bag" ? `list_transform(t${t}, lambda v: hash(v))` : `hash(t${t})`
    );
    return ["label", ...dense, ...hashes].join(", ");
  }

  encode(chunk: DuckDBDataChunk): void {
    const rows = chunk.rowCount;
    this.labels.set(numbers<Uint8Array>(chunk.getColumnVector(0)));
    for (let d = 0; d < this.denseFeatures; d++) {
      const values = numbers<Float32Array>(chunk.getColumnVector(1 + d));
      for (let i = 0, o = d; i < rows; i++, o += this.denseFeatures) this.dense[o] = values[i];
    }
    if (this.#columns.some((c) => c.kind === "bag")) this.#encodeBags(chunk, rows);
    else this.#encodeSingle(chunk, rows);
  }

  #encodeSingle(chunk: DuckDBDataChunk, rows: number): void {
    const tables = this.#columns.length;
    for (let t = 0; t < tables; t++) {
      const hashes = hashWords(chunk.getColumnVector(1 + this.denseFeatures + t));
      this.#dictionaries[t].encode(hashes, 0, rows, this.#firstRows[t], this.indices, t, tables);
    }
    for (let i = 0; i <= rows; i++) this.rowStarts[i] = i * tables;
  }

  #encodeBags(chunk: DuckDBDataChunk, rows: number): void {
    const tables = this.#columns.length;
    const bags = this.#columns.map(({ kind }, t) => {
      const index = 1 + this.denseFeatures + t;
      if (kind !== "bag") return { hashes: hashWords(chunk.getColumnVector(index)), list: undefined };
      const list = lists(chunk, index);
      return { hashes: hashWords(list.childVector), list };
    });
    let lookups = 0;
    for (let i = 0; i < rows; i++) {
      this.rowStarts[i] = lookups;
      for (let t = 0; t < tables; t++) {
        lookups += this.bagLengths[i * tables + t] = bags[t].list?.getEntryLength(i) ?? 1;
      }
    }
    this.rowStarts[rows] = lookups;
    if (lookups > this.indices.length) this.indices = new Uint32Array(lookups);
    for (let i = 0, position = 0; i < rows; i++) {
      for (let t = 0; t < tables; t++) {
        const { hashes, list } = bags[t];
        const length = this.bagLengths[i * tables + t];
        const from = list?.getEntryOffset(i) ?? i;
        this.#dictionaries[t].encode(hashes, from, length, this.#firstRows[t], this.indices, position, 1);
        position += length;
      }
    }
  }
}

/**
 * Streams staged tables through their dictionaries into the files of all splits. `sources` lists the staged tables with
 * the consecutive parts each is divided into. Returns the sizes of the splits.
 */
export async function encodeSamples(
  engine: Engine,
  writer: ArtifactWriter,
  sources: readonly { readonly table: string; readonly parts: readonly Part[] }[],
  features: { readonly dense: number; readonly columns: readonly SparseColumn[] },
  dictionaries: readonly Dictionary[],
  onProgress?: (fraction: number) => void,
): Promise<DatasetBody["splits"]> {
  const { dense, columns } = features;
  const tables = columns.length;
  const bags = columns.some((c) => c.kind === "bag");
  const encoder = new ChunkEncoder(dense, columns, dictionaries);
  const sizes = {
    train: { samples: 0, lookups: 0 },
    validation: { samples: 0, lookups: 0 },
    test: { samples: 0, lookups: 0 },
  };
  const starts = new Float64Array(CHUNK_ROWS);
  const write = (split: Split, from: number, to: number) => {
    const files = splitFiles(split);
    const size = sizes[split];
    const first = encoder.rowStarts[from];
    writer.file(files.labels).append(encoder.labels.subarray(from, to));
    writer.file(files.dense).append(encoder.dense.subarray(from * dense, to * dense));
    writer.file(files.indices).append(encoder.indices.subarray(first, encoder.rowStarts[to]));
    if (bags) {
      for (let i = from; i < to; i++) starts[i - from] = size.lookups + encoder.rowStarts[i] - first;
      writer.file(files.firstLookups).append(starts.subarray(0, to - from));
      writer.file(files.bagLengths).append(encoder.bagLengths.subarray(from * tables, to * tables));
    }
    size.samples += to - from;
    size.lookups += encoder.rowStarts[to] - first;
  };

  const total = sources.flatMap((s) => s.parts).reduce((sum, p) => sum + p.samples, 0);
  let done = 0;
  for (const { table, parts } of sources) {
    let part = 0;
    let left = parts[0].samples;
    for await (const chunk of engine.stream(`SELECT ${encoder.selection} FROM ${table}`)) {
      encoder.encode(chunk);
      const rows = chunk.rowCount;
      for (let from = 0; from < rows;) {
        while (left === 0) left = parts[++part].samples;
        const to = Math.min(rows, from + left);
        write(parts[part].split, from, to);
        left -= to - from;
        from = to;
      }
      onProgress?.((done += rows) / total);
    }
  }
  for (const split of SPLITS) {
    const files = splitFiles(split);
    for (const name of [files.labels, files.dense, files.indices]) writer.file(name);
    if (!bags) continue;
    writer.file(files.bagLengths);
    writer.file(files.firstLookups).append(Float64Array.of(sizes[split].lookups));
  }
  return sizes;
}
