/** Encoding: staged rows become the flat arrays of a dataset, in order. */
import type { DuckDBDataChunk } from "@duckdb/node-api";
import type { ArtifactWriter } from "../artifact.ts";
import { encodeChunk, type EncodedChunk, type RawChunk, type SparseChunk } from "./chunk_encoder.ts";
import { type DatasetBody, type Split, splitFiles, SPLITS } from "./dataset.ts";
import { type Dictionary, hashWords } from "./dictionary.ts";
import { type Engine, lists, numbers } from "./duckdb.ts";
import type { SparseColumn } from "./schema.ts";

/** A run of staged rows that goes to one split. */
export interface Part {
  readonly split: Split;
  readonly samples: number;
}

/** What staged rows consist of. */
export interface Features {
  /** Number of dense features. */
  readonly dense: number;
  readonly columns: readonly SparseColumn[];
}

/** Reads a staged table in chunks. */
async function* readChunks(engine: Engine, table: string, { dense, columns }: Features): AsyncGenerator<RawChunk> {
  const values = Array.from({ length: dense }, (_, d) => `d${d}`);
  const hashes = columns.map(({ kind }, t) =>
    kind === "bag" ? `list_transform(t${t}, lambda v: hash(v))` : `hash(t${t})`
  );
  for await (const chunk of engine.stream(`SELECT ${["label", ...values, ...hashes].join(", ")} FROM ${table}`)) {
    yield {
      rows: chunk.rowCount,
      labels: numbers<Uint8Array>(chunk.getColumnVector(0)),
      dense: values.map((_, d) => numbers<Float32Array>(chunk.getColumnVector(1 + d))),
      sparse: columns.map(({ kind }, t) => sparseChunk(chunk, 1 + dense + t, kind === "bag")),
    };
  }
}

function sparseChunk(chunk: DuckDBDataChunk, index: number, bag: boolean): SparseChunk {
  if (!bag) return { hashes: hashWords(chunk.getColumnVector(index)), bags: undefined };
  const list = lists(chunk, index);
  const bags = {
    offsets: Uint32Array.from({ length: chunk.rowCount }, (_, i) => list.getEntryOffset(i)),
    lengths: Uint32Array.from({ length: chunk.rowCount }, (_, i) => list.getEntryLength(i)),
  };
  return { hashes: hashWords(list.childVector), bags };
}

/**
 * Streams staged tables through their dictionaries into the files of all splits. `sources` lists the staged tables with
 * the consecutive parts each is divided into. Returns the sizes of the splits.
 */
export async function encodeSamples(
  engine: Engine,
  writer: ArtifactWriter,
  sources: readonly { readonly table: string; readonly parts: readonly Part[] }[],
  features: Features,
  dictionaries: readonly Dictionary[],
  onProgress?: (fraction: number) => void,
): Promise<DatasetBody["splits"]> {
  const total = sources.flatMap((s) => s.parts).reduce((sum, p) => sum + p.samples, 0);
  const bags = features.columns.some((c) => c.kind === "bag");
  const splits = new SplitWriter(writer, features.dense, features.columns.length, bags);
  const firstRows = [0];
  for (const { rows } of dictionaries) firstRows.push(firstRows.at(-1)! + rows);
  let done = 0;
  for (const { table, parts } of sources) {
    let part = 0;
    let left = parts[0].samples;
    for await (const raw of readChunks(engine, table, features)) {
      const chunk = encodeChunk(raw, dictionaries, firstRows);
      for (let from = 0; from < chunk.rows;) {
        while (left === 0) left = parts[++part].samples;
        const to = Math.min(chunk.rows, from + left);
        splits.write(parts[part].split, chunk, from, to);
        left -= to - from;
        from = to;
      }
      onProgress?.((done += chunk.rows) / total);
    }
  }
  return splits.finish();
}

/** Appends encoded samples to the files of their split. */
class SplitWriter {
  readonly #writer: ArtifactWriter;
  readonly #dense: number;
  readonly #tables: number;
  readonly #bags: boolean;
  readonly #sizes: DatasetBody["splits"] = {
    train: { samples: 0, lookups: 0 },
    validation: { samples: 0, lookups: 0 },
    test: { samples: 0, lookups: 0 },
  };

  constructor(writer: ArtifactWriter, dense: number, tables: number, bags: boolean) {
    this.#writer = writer;
    this.#dense = dense;
    this.#tables = tables;
    this.#bags = bags;
    for (const split of SPLITS) { // all files exist, be they empty
      const { labels, dense, indices } = splitFiles(split);
      for (const name of [labels, dense, indices]) writer.file(name);
    }
  }

  /** Writes samples `[from, to)` of a chunk. */
  write(split: Split, { labels, dense, indices, bags }: EncodedChunk, from: number, to: number): void {
    const files = splitFiles(split);
    const size = this.#sizes[split];
    const first = bags?.rowStarts[from] ?? from * this.#tables;
    const end = bags?.rowStarts[to] ?? to * this.#tables;
    this.#writer.file(files.labels).append(labels.subarray(from, to));
    this.#writer.file(files.dense).append(dense.subarray(from * this.#dense, to * this.#dense));
    this.#writer.file(files.indices).append(indices.subarray(first, end));
    if (bags !== undefined) {
      const starts = Float64Array.from(bags.rowStarts.subarray(from, to), (start) => size.lookups + start - first);
      this.#writer.file(files.firstLookups).append(starts);
      this.#writer.file(files.bagLengths).append(bags.lengths.subarray(from * this.#tables, to * this.#tables));
    }
    size.samples += to - from;
    size.lookups += end - first;
  }

  /** Closes the lists of bags. Returns the sizes of the splits. */
  finish(): DatasetBody["splits"] {
    for (const split of this.#bags ? SPLITS : []) {
      const { bagLengths, firstLookups } = splitFiles(split);
      this.#writer.file(bagLengths);
      this.#writer.file(firstLookups).append(Float64Array.of(this.#sizes[split].lookups));
    }
    return this.#sizes;
  }
}
