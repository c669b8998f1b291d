/** Reads whole numbers of 32 bits (label, 13 dense, 26 sparse) into staged chunks; runs on worker threads. */
import { FileReader } from "../storage/artifact.ts";
import { CRITEO } from "./formats.ts";
import { fieldFault, rowError } from "./row_fault.ts";
import { criteoDense, DENSE, TABLES } from "./criteo_parser.ts";
import type { LogPart, ReadResult } from "./read_criteo.ts";
import { ChunkBuffer } from "./staged_chunk.ts";

export const VALUE_BYTES = { int32: 4, float64: 8 } as const;

/** The part of a row's values that is in one file. */
export interface IntegerSource {
  readonly file: string;
  /** Position of the first row. */
  readonly at: number;
  /** Values of a row. */
  readonly words: number;
  readonly type: keyof typeof VALUE_BYTES;
}

/** A range of rows; a row consists of the values of all sources: a label if any, dense values, sparse values. */
export interface IntegerTask extends LogPart {
  readonly kind: "integers";
  readonly sources: readonly IntegerSource[];
  readonly first: number;
  readonly rows: number;
}

/** Reads the rows of a task. Throws HotsetError that names file, row and reason. */
export function readIntegers(task: IntegerTask): ReadResult {
  const { path, sources, label: labelField, first, rows, maxIndRange, skip, prefix } = task;
  const columns = sources.flatMap((source) => {
    const { words } = source;
    const memory = readValues(source, first, rows, path);
    return Array.from({ length: words }, (_, offset) => ({ memory, words, offset }));
  });
  const field = (i: number, column: number) => {
    const { memory, words, offset } = columns[column];
    return memory[i * words + offset];
  };
  const firstDense = labelField === "absent" ? 0 : 1;
  const chunk = new ChunkBuffer(rows, DENSE, TABLES);
  let skippedRows = 0;
  for (let i = 0; i < rows; i++) {
    const label = labelField === "read" ? field(i, 0) : 0;
    if (label !== 0 && label !== 1) {
      if (!skip) {
        const fault = fieldFault(CRITEO.columns[0], String(label));
        throw rowError(path, `row ${first + i + 1}`, fault);
      }
      skippedRows++;
      continue;
    }
    const row = chunk.rows++;
    chunk.labels[row] = label;
    for (let d = 0; d < DENSE; d++) chunk.dense[row * DENSE + d] = criteoDense(field(i, firstDense + d));
    for (let t = 0; t < TABLES; t++) {
      const key = field(i, firstDense + DENSE + t) >>> 0;
      chunk.keys[t][row] = maxIndRange === undefined ? key : key % maxIndRange;
    }
  }
  return { chunks: chunk.rows === 0 ? [] : [chunk.flush(`${prefix}.0.rows`)], skippedRows, blankLines: undefined };
}

/** The values of some rows in one file. Throws HotsetError for a value that is not a 32-bit whole number. */
function readValues({ file, at, words, type }: IntegerSource, first: number, rows: number, path: string): Int32Array {
  using reader = new FileReader(file);
  const values = type === "int32" ? new Int32Array(rows * words) : new Float64Array(rows * words);
  reader.read(at + VALUE_BYTES[type] * first * words, new Uint8Array(values.buffer));
  if (values instanceof Int32Array) return values;
  const integers = Int32Array.from(values);
  const wrong = integers.findIndex((value, i) => value !== values[i]);
  if (wrong < 0) return integers;
  const row = first + Math.floor(wrong / words) + 1;
  throw rowError(path, `row ${row}`, `${values[wrong]} is not a 32-bit whole number`);
}
