/** Encoding of one chunk of staged rows: hashes become global rows, columns become samples. */
import type { Dictionary } from "./dictionary.ts";

/** Columns of consecutive rows. */
export interface RawChunk {
  readonly rows: number;
  /** (rows) */
  readonly labels: Uint8Array;
  /** (features)(rows), transformed. */
  readonly dense: readonly Float32Array[];
  /** One for each table. */
  readonly sparse: readonly SparseChunk[];
}

/** A categorical column: one hash a row, or for bags the hashes from `offsets[row]` on, `lengths[row]` of them. */
export interface SparseChunk {
  /** Pairs of words: low, high. */
  readonly hashes: Uint32Array;
  readonly bags: { readonly offsets: Uint32Array; readonly lengths: Uint32Array } | undefined;
}

/** Consecutive samples as the files of a dataset hold them. */
export interface EncodedChunk {
  readonly rows: number;
  /** (rows) */
  readonly labels: Uint8Array;
  /** (rows, features) */
  readonly dense: Float32Array;
  /** Global rows, by (row, table). */
  readonly indices: Uint32Array;
  /** Only with bags. */
  readonly bags:
    | {
      /** Lookups of each bag, (rows, tables). */
      readonly lengths: Uint32Array;
      /** First lookup of each row in `indices`, then the end. */
      readonly rowStarts: Uint32Array;
    }
    | undefined;
}

/** Encodes a chunk. `firstRows` are the first global rows of the tables. */
export function encodeChunk(
  chunk: RawChunk,
  dictionaries: readonly Dictionary[],
  firstRows: readonly number[],
): EncodedChunk {
  const { rows, labels, sparse } = chunk;
  const features = chunk.dense.length;
  const dense = new Float32Array(rows * features);
  for (const [d, values] of chunk.dense.entries()) {
    for (let i = 0, o = d; i < rows; i++, o += features) dense[o] = values[i];
  }
  if (sparse.some((s) => s.bags !== undefined)) {
    return { rows, labels, dense, ...encodeBags(rows, sparse, dictionaries, firstRows) };
  }
  const tables = sparse.length;
  const indices = new Uint32Array(rows * tables);
  for (const [t, { hashes }] of sparse.entries()) {
    dictionaries[t].encode(hashes, 0, rows, firstRows[t], indices, t, tables);
  }
  return { rows, labels, dense, indices, bags: undefined };
}

function encodeBags(
  rows: number,
  sparse: readonly SparseChunk[],
  dictionaries: readonly Dictionary[],
  firstRows: readonly number[],
): Pick<EncodedChunk, "indices" | "bags"> {
  const tables = sparse.length;
  const lengths = new Uint32Array(rows * tables);
  const rowStarts = new Uint32Array(rows + 1);
  let lookups = 0;
  for (let i = 0; i < rows; i++) {
    for (let t = 0; t < tables; t++) lookups += lengths[i * tables + t] = sparse[t].bags?.lengths[i] ?? 1;
    rowStarts[i + 1] = lookups;
  }
  const indices = new Uint32Array(lookups);
  for (let i = 0, position = 0; i < rows; i++) {
    for (let t = 0; t < tables; t++) {
      const { hashes, bags } = sparse[t];
      const length = lengths[i * tables + t];
      dictionaries[t].encode(hashes, bags?.offsets[i] ?? i, length, firstRows[t], indices, position, 1);
      position += length;
    }
  }
  return { indices, bags: { lengths, rowStarts } };
}
