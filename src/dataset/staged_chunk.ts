/** Parsed rows of a log on disk, stored by column, so that each table can be counted and encoded separately. */
import type { FileReader } from "../storage/artifact.ts";
import { AtomicFile } from "../storage/atomic_file.ts";

/**
 * A file of parsed rows: labels u8 (rows), dense f32 (rows, features), keys u32 (tables, rows); each section begins at
 * a whole word.
 */
export interface StagedChunk {
  readonly file: string;
  readonly rows: number;
}

/** A part of a column of 32-bit keys in a file. */
export interface KeyRun {
  readonly file: string;
  /** First byte. */
  readonly at: number;
  readonly keys: number;
}

/** First byte of the dense values of a chunk. */
export function denseAt(rows: number): number {
  return 4 * Math.ceil(rows / 4);
}

/** Position of a table's keys in a chunk. */
export function keyRun({ file, rows }: StagedChunk, denseFeatures: number, table: number): KeyRun {
  return { file, at: denseAt(rows) + 4 * rows * (denseFeatures + table), keys: rows };
}

/** Rows that are being parsed. Set the fields of row `rows`, then increment it. */
export class ChunkBuffer {
  rows = 0;
  readonly labels: Uint8Array;
  /** (rows, features) */
  readonly dense: Float32Array;
  /** (tables)(rows) */
  readonly keys: readonly Uint32Array[];
  readonly #denseFeatures: number;

  constructor(capacity: number, denseFeatures: number, tables: number) {
    this.#denseFeatures = denseFeatures;
    this.labels = new Uint8Array(denseAt(capacity)); // written labels end at a whole word
    this.dense = new Float32Array(capacity * denseFeatures);
    this.keys = Array.from({ length: tables }, () => new Uint32Array(capacity));
  }

  /** Writes the rows to a file atomically and empties the buffer. Throws HotsetError. */
  flush(file: string): StagedChunk {
    const { rows, labels, dense, keys } = this;
    AtomicFile.write(file, [
      labels.subarray(0, denseAt(rows)),
      dense.subarray(0, rows * this.#denseFeatures),
      ...keys.map((column) => column.subarray(0, rows)),
    ]);
    this.rows = 0;
    return { file, rows };
  }
}

/** Reads `count` words of a file into the start of `target` and returns them. */
export function readWords<A extends Uint32Array | Float32Array>(
  reader: FileReader,
  at: number,
  count: number,
  target: A,
): A {
  const words = target.subarray(0, count) as A;
  reader.read(at, words);
  return words;
}
