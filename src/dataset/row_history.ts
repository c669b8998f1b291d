/**
 * The history of a growing encoding's rows: the number of each, and for how many growths it was not looked up. A number
 * belongs to one value for ever, while the ids of a table, which are positions of rows, close up when rows are dropped.
 */
import { FileReader } from "../storage/artifact.ts";
import { AtomicFile } from "../storage/atomic_file.ts";
import { type KeyRun, readWords } from "./staged_chunk.ts";

/**
 * U32 (rows of all tables): consecutive growths, up to this one, whose train split did not look the row up. Absent where
 * all are 0.
 */
export const UNSEEN_FILE = "unseen.u32";
/** U32 (rows of all tables): number of the row in its table, rising. Absent where every number is the id. */
export const NUMBERS_FILE = "numbers.u32";

/** Location of the history of a table, without row 0. */
export interface HistoryFiles {
  readonly rows: number;
  /** Next number: one more than the largest that any row had. */
  readonly next: number;
  /** Undefined where all are 0. */
  readonly unseen: KeyRun | undefined;
  /** Undefined where every number is the id. */
  readonly numbers: KeyRun | undefined;
}

/** The history of a table's rows, without row 0. */
export interface RowHistory {
  readonly next: number;
  readonly unseen: Uint32Array<ArrayBuffer>;
  readonly numbers: Uint32Array<ArrayBuffer>;
}

/** Reads the history of a table. Throws HotsetError. */
export function readHistory({ rows, next, unseen, numbers }: HistoryFiles): RowHistory {
  return {
    next,
    unseen: unseen === undefined ? new Uint32Array(rows) : readKeys(unseen),
    numbers: numbers === undefined ? Uint32Array.from({ length: rows }, (_, i) => i + 1) : readKeys(numbers),
  };
}

/** Reads the words of a run. Throws HotsetError. */
export function readKeys({ file, at, keys }: KeyRun): Uint32Array<ArrayBuffer> {
  using reader = new FileReader(file);
  return readWords(reader, at, keys, new Uint32Array(keys));
}

/** The rows that a growth keeps. */
export interface KeptRows {
  /** Their positions among the rows so far, rising; undefined for all. */
  readonly kept: Uint32Array | undefined;
  /** Their history after the growth. */
  readonly history: RowHistory;
}

/**
 * The rows after a growth whose train split looked them up `seen[i]` times. With `expire` those that were not looked up
 * for this number of growths are dropped.
 */
export function ageRows({ next, unseen, numbers }: RowHistory, seen: Uint32Array, expire = Infinity): KeptRows {
  const aged = unseen.map((growths, i) => seen[i] > 0 ? 0 : growths + 1);
  const remaining = aged.reduce((count, growths) => growths < expire ? count + 1 : count, 0);
  if (remaining === aged.length) return { kept: undefined, history: { next, unseen: aged, numbers } };
  const kept = new Uint32Array(remaining);
  for (let i = 0, k = 0; i < aged.length; i++) if (aged[i] < expire) kept[k++] = i;
  return { kept, history: { next, unseen: wordsAt(aged, kept), numbers: wordsAt(numbers, kept) } };
}

export function wordsAt(words: Uint32Array, positions: Uint32Array): Uint32Array<ArrayBuffer> {
  return positions.map((position) => words[position]) as Uint32Array<ArrayBuffer>;
}

/** Writes the history of the kept rows of a table and of `added` new ones, row 0 first. Throws HotsetError. */
export function writeHistory(
  { next, unseen, numbers }: RowHistory,
  added: number,
  files: { readonly unseen: string; readonly numbers: string },
): void {
  AtomicFile.write(files.unseen, [Uint32Array.of(0), unseen, new Uint32Array(added)]);
  const further = Uint32Array.from({ length: added }, (_, i) => next + i);
  AtomicFile.write(files.numbers, [Uint32Array.of(0), numbers, further]);
}
