/** Reading of 32-bit whole numbers (label, 13 dense, 26 sparse) into staged chunks; runs on worker threads. */
import { FileReader } from "../artifact.ts";
import { HotsetError } from "../errors.ts";
import { CRITEO } from "./formats.ts";
import { fieldFault } from "./row_fault.ts";
import type { ReadResult } from "./read_criteo.ts";
import { isDense, isSparse } from "./schema.ts";
import { ChunkBuffer } from "./staged_chunk.ts";

const DENSE = CRITEO.columns.filter(isDense).length;
const TABLES = CRITEO.columns.filter(isSparse).length;

/** Words that rows have in one file. */
export interface IntegerSource {
  readonly file: string;
  /** First byte of the first row. */
  readonly at: number;
  /** Words of a row. */
  readonly words: number;
}

/** Some rows, of which each is the words of all sources one after the other: label, dense values, sparse values. */
export interface IntegerTask {
  readonly kind: "integers";
  /** The user's file, for messages. */
  readonly path: string;
  readonly sources: readonly IntegerSource[];
  readonly first: number;
  readonly rows: number;
  readonly maxIndRange: number | undefined;
  readonly skip: boolean;
  /** How the chunk's file begins. */
  readonly prefix: string;
}

/** Reads the rows of a task. Throws HotsetError that names file, row and reason. */
export function readIntegers({ path, sources, first, rows, maxIndRange, skip, prefix }: IntegerTask): ReadResult {
  const columns = sources.flatMap(({ file, at, words }) => {
    using reader = new FileReader(file);
    const memory = new Int32Array(rows * words);
    reader.read(at + 4 * first * words, new Uint8Array(memory.buffer));
    return Array.from({ length: words }, (_, offset) => ({ memory, words, offset }));
  });
  const field = (i: number, column: number) => {
    const { memory, words, offset } = columns[column];
    return memory[i * words + offset];
  };
  const chunk = new ChunkBuffer(rows, DENSE, TABLES);
  let skippedRows = 0;
  for (let i = 0; i < rows; i++) {
    const label = field(i, 0);
    if (label !== 0 && label !== 1) {
      if (!skip) {
        const fault = fieldFault(CRITEO.columns[0], String(label));
        throw new HotsetError(`Cannot read ${path}: row ${first + i + 1}: ${fault}`);
      }
      skippedRows++;
      continue;
    }
    const row = chunk.rows++;
    chunk.labels[row] = label;
    for (let d = 0; d < DENSE; d++) chunk.dense[row * DENSE + d] = Math.log(Math.max(field(i, 1 + d), 0) + 1);
    for (let t = 0; t < TABLES; t++) {
      const key = field(i, 1 + DENSE + t) >>> 0;
      chunk.keys[t][row] = maxIndRange === undefined ? key : key % maxIndRange;
    }
  }
  return { chunks: chunk.rows === 0 ? [] : [chunk.flush(`${prefix}.0.rows`)], skippedRows };
}
